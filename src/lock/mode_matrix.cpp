// Checks a mode matrix once, and computes what the table looks up at every request.
#include <bit>
#include <gordian/lock_mode.hpp>
#include <utility>

namespace gordian {
namespace {

Mode mode_of(std::size_t number) { return static_cast<Mode>(number); }

/// What is wrong with the list as such; empty if nothing.
std::string complaint(const std::vector<ModeSpec>& modes) {
  if (modes.empty() || modes.size() > max_modes)
    return "a mode matrix has 1 to 16 modes, this one has " + std::to_string(modes.size());
  for (std::size_t i = 0; i < modes.size(); ++i) {
    if (modes[i].name.empty()) return "mode " + std::to_string(i) + " has no name";
    for (std::size_t k = 0; k < i; ++k)
      if (modes[k].name == modes[i].name) return "two modes are called " + modes[i].name;
    if ((modes[i].conflicts >> modes.size()) != 0 || (modes[i].on_parents && *modes[i].on_parents >= modes.size()))
      return "mode " + modes[i].name + " names a mode beyond the list's " + std::to_string(modes.size());
  }
  return {};
}

}  // namespace

tl::expected<ModeMatrix, std::string> ModeMatrix::make(std::vector<ModeSpec> modes) {
  if (auto wrong = complaint(modes); !wrong.empty()) return tl::unexpected(std::move(wrong));
  ModeMatrix matrix;
  matrix.size_ = modes.size();
  for (std::size_t i = 0; i < modes.size(); ++i) {
    matrix.names_[i] = std::move(modes[i].name);
    matrix.conflicts_[i] = modes[i].conflicts;
    if (modes[i].on_parents) matrix.on_parents_[i] = mode_of(*modes[i].on_parents);
    for (std::size_t held = 0; held < modes.size(); ++held)
      if (has(modes[i].conflicts, mode_of(held))) matrix.obstructs_[held] |= bit(mode_of(i));
  }
  for (std::size_t a = 0; a < matrix.size_; ++a)
    for (std::size_t b = 0; b < matrix.size_; ++b) {
      const auto join = matrix.weakest_over(mode_of(a), mode_of(b));
      if (!join) return tl::unexpected("no mode covers both " + matrix.names_[a] + " and " + matrix.names_[b]);
      matrix.joins_[a][b] = *join;
    }
  return matrix;
}

bool ModeMatrix::at_least(Mode strong, Mode weak) const {
  return (conflicts(weak) & ~conflicts(strong)) == 0 && (obstructs(weak) & ~obstructs(strong)) == 0;
}

/// The one with the fewest conflicts; among equals one of the two themselves, else the first of the list.
std::optional<Mode> ModeMatrix::weakest_over(Mode a, Mode b) const {
  const auto weight = [this](Mode m) { return std::popcount(conflicts(m)) + std::popcount(obstructs(m)); };
  std::optional<Mode> best;
  for (const Mode own : {a, b})
    if (at_least(own, a) && at_least(own, b) && !best) best = own;
  for (std::size_t i = 0; i < size_; ++i)
    if (const Mode m = mode_of(i); at_least(m, a) && at_least(m, b) && (!best || weight(m) < weight(*best))) best = m;
  return best;
}

std::optional<Mode> ModeMatrix::find(std::string_view name) const {
  for (std::size_t i = 0; i < size_; ++i)
    if (names_[i] == name) return mode_of(i);
  return std::nullopt;
}

namespace modes {
namespace {

constexpr ModeSet set_of(std::initializer_list<Mode> modes) {
  ModeSet set = 0;
  for (const Mode mode : modes) set |= bit(mode);
  return set;
}
constexpr std::uint8_t number(Mode mode) { return static_cast<std::uint8_t>(mode); }

}  // namespace

const ModeMatrix& standard() {
  static const ModeMatrix matrix = ModeMatrix::make({
                                                        {"IS", set_of({X}), number(IS)},
                                                        {"IX", set_of({S, SIX, U, X}), number(IX)},
                                                        {"S", set_of({IX, SIX, X}), number(IS)},
                                                        {"SIX", set_of({IX, S, SIX, U, X}), number(IX)},
                                                        {"U", set_of({IX, SIX, U, X}), number(IX)},
                                                        {"X", set_of({IS, IX, S, SIX, U, X}), number(IX)},
                                                    })
                                       .value();
  return matrix;
}

const ModeMatrix& dlm() {
  using namespace vms;
  static const ModeMatrix matrix = ModeMatrix::make({
                                                        {"NL", set_of({}), number(NL)},
                                                        {"CR", set_of({EX}), number(CR)},
                                                        {"CW", set_of({PR, PW, EX}), number(CW)},
                                                        {"PR", set_of({CW, PW, EX}), number(CR)},
                                                        {"PW", set_of({CW, PR, PW, EX}), number(CW)},
                                                        {"EX", set_of({CR, CW, PR, PW, EX}), number(CW)},
                                                    })
                                       .value();
  return matrix;
}

}  // namespace modes
}  // namespace gordian
