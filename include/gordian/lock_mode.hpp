// Lock modes: which of them get along, and which one covers two others. Up to 16, as bit masks.
//
// `modes::standard()` has the usual six of multi-granularity locking (Gray), `modes::dlm()` those of VMS and of the
// distributed lock managers after it. A matrix of one's own says for each mode which held modes stand in its way.
// Values: immutable after construction, safe to use from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian {

/// A mode's number in its matrix.
enum class Mode : std::uint8_t {};
/// A set of modes: bit n is mode n.
using ModeSet = std::uint16_t;

inline constexpr std::size_t max_modes = 16;

constexpr std::size_t index(Mode mode) { return static_cast<std::size_t>(mode); }
constexpr ModeSet bit(Mode mode) { return static_cast<ModeSet>(1U << index(mode)); }
constexpr bool has(ModeSet set, Mode mode) { return (set & bit(mode)) != 0; }

/// One mode of a matrix of one's own. The relation need not be symmetric: `conflicts` is read when this mode is asked for.
struct ModeSpec {
  std::string name;
  ModeSet conflicts;  ///< held modes (their places in the list) that this mode, when asked for, has to wait for
  /// The mode that a lock on `a/b` in this mode needs on `a` (its place in the list). None: the path's other parts are
  /// not locked.
  std::optional<std::uint8_t> on_parents;
};

class ModeMatrix {
 public:
  /// Errors (a sentence): no mode or more than 16, an empty name or one used twice, a number beyond the list, or two
  /// modes that no mode of the list covers both (a holder of one that asks for the other would have nowhere to go).
  [[nodiscard]] static tl::expected<ModeMatrix, std::string> make(std::vector<ModeSpec> modes);

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::string_view name(Mode mode) const { return names_[index(mode)]; }
  [[nodiscard]] std::optional<Mode> find(std::string_view name) const;
  /// Held modes that stand in the way of asking for `mode`.
  [[nodiscard]] ModeSet conflicts(Mode mode) const { return conflicts_[index(mode)]; }
  /// The same, read the other way: modes in whose way `mode` stands while it is held.
  [[nodiscard]] ModeSet obstructs(Mode mode) const { return obstructs_[index(mode)]; }
  /// The weakest mode that is at least both: what a holder of `a` has after asking for `b`.
  [[nodiscard]] Mode join(Mode a, Mode b) const { return joins_[index(a)][index(b)]; }
  [[nodiscard]] bool covers(Mode strong, Mode weak) const { return join(strong, weak) == strong; }
  [[nodiscard]] std::optional<Mode> on_parents(Mode mode) const { return on_parents_[index(mode)]; }

 private:
  ModeMatrix() = default;
  [[nodiscard]] bool at_least(Mode strong, Mode weak) const;
  [[nodiscard]] std::optional<Mode> weakest_over(Mode a, Mode b) const;

  std::size_t size_ = 0;
  std::array<ModeSet, max_modes> conflicts_{};
  std::array<ModeSet, max_modes> obstructs_{};
  std::array<std::array<Mode, max_modes>, max_modes> joins_{};
  std::array<std::optional<Mode>, max_modes> on_parents_{};
  std::array<std::string, max_modes> names_;
};

namespace modes {

/// Of standard(): intention shared, intention exclusive, shared, shared with intention exclusive, update, exclusive.
/// U gets along with S both ways and with no second U: of those who read in order to write, one at a time.
inline constexpr Mode IS{0}, IX{1}, S{2}, SIX{3}, U{4}, X{5};
[[nodiscard]] const ModeMatrix& standard();

/// The modes of VMS: null, concurrent read, concurrent write, protected read, protected write, exclusive.
namespace vms {
inline constexpr Mode NL{0}, CR{1}, CW{2}, PR{3}, PW{4}, EX{5};
}
[[nodiscard]] const ModeMatrix& dlm();

}  // namespace modes
}  // namespace gordian
