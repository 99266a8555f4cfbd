// Traces: any text is replayed or refused with its line; choices that begin with a zero byte are built into a valid trace, which must
// replay, twice to the same incidents, and with nobody deadlocked behind the last pass.
#include <set>
#include <sstream>

#include "target.hpp"
#include "trace/reader.hpp"
#include "trace/replay.hpp"

namespace {

using namespace gordian;
using fuzz::Choices;
using fuzz::require;

std::string txn(Choices& choices) { return "\"" + std::to_string(1 + choices.below(7)) + "\""; }
std::string site(Choices& choices) { return R"(,"site":")" + std::to_string(choices.below(3)) + "\""; }
std::string resource(Choices& choices) { return R"("resource":"r)" + std::to_string(choices.below(2)) + "\""; }

/// Up to three, each once; `others` counts those that are not `self`, who is never one's own blocker.
std::string txns(Choices& choices, const std::string& self, unsigned& others) {
  std::set<std::string> named;
  for (auto n = 1 + choices.below(3); n > 0; --n) named.insert(txn(choices));
  std::string list;
  others = 0;
  for (const auto& one : named) {
    list += (list.empty() ? "" : ",") + one;
    others += one == self ? 0 : 1;
  }
  return "[" + list + "]";
}
std::string txns(Choices& choices) {
  unsigned count = 0;
  return txns(choices, "", count);
}

std::string wait(Choices& choices) {
  const auto self = txn(choices);
  auto line = R"({"op":"wait","txn":)" + self + site(choices) + "," + resource(choices);
  if (choices.once_in(4)) return line + "}";  // whoever holds it
  unsigned others = 0;
  line += R"(,"for":)" + txns(choices, self, others);
  const auto need = choices.below(6);
  if (need == 3) return line + R"(,"behind":)" + txns(choices) + "}";
  if (choices.once_in(3)) line += R"(,"kind":"dotted")";
  if (need == 1 && others > 0) return line + R"(,"need":"any"})";
  if (need == 2 && others > 0) return line + R"(,"need":)" + std::to_string(1 + choices.below(others)) + "}";
  return line + "}";
}

std::string operation(Choices& choices) {
  switch (choices.below(10)) {
    case 0: return R"({"op":"unwait","txn":)" + txn(choices) + "}";
    case 1: return R"({"op":"end","txn":)" + txn(choices) + "}";
    case 2: return R"({"op":"holders",)" + resource(choices) + R"(,"txns":)" + txns(choices) + site(choices) + "}";
    case 3:
      return R"({"op":"begin","txn":)" + txn(choices) + R"(,"priority":)" + std::to_string(choices.below(3)) +
             (choices.once_in(4) ? R"(,"class":"never"})" : "}");
    case 4: return choices.once_in(4) ? R"({"op":"lost")" + site(choices) + "}" : R"({"op":"detect"})";
    default: return wait(choices);
  }
}

std::string built(Choices choices) {
  static constexpr const char* policies[]{"youngest",  "oldest",          "fewest_locks", "least_work",
                                          "requester", "lowest_priority", "weighted"};
  std::string text = R"({"op":"mode","detect":")" + std::string(choices.once_in(2) ? "on_demand" : "continuous") +
                     R"(","policy":")" + policies[choices.below(7)] + "\"}\n";
  constexpr int operations_max = 60;
  for (int i = 0; choices.left() && i < operations_max; ++i) text += operation(choices) + "\n";
  // Whatever may be aborted has been after one pass: the next one finds nothing new.
  return text +
         "{\"op\":\"detect\"}\n{\"op\":\"expect\"}\n{\"op\":\"detect\"}\n{\"op\":\"expect\",\"incidents\":0,"
         "\"victims\":[]}\n";
}

trace::Outcome replayed(std::string_view text) {
  std::istringstream in{std::string(text)};
  return trace::replay(in, "fuzz");
}

std::string told(const trace::Outcome& outcome) {
  std::string text;
  for (const auto& incident : outcome.incidents) {
    text += std::to_string(incident.line) + ":";
    for (const auto& victim : incident.victims) text += " " + victim.str();
    text += " (" + incident.why + ")\n";
  }
  return text;
}

void replays(const std::string& text) {
  const auto outcome = replayed(text);
  require(!outcome.error,
          "a valid trace is replayed: " + (outcome.error ? to_string(*outcome.error) : "") + "\n" + text);
  require(outcome.failed.empty(), "one pass leaves nothing to be found\n" + text);
  require(told(outcome) == told(replayed(text)), "a trace is replayed in one way\n" + text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0 && data[0] == 0) {
    replays(built(Choices({data + 1, size - 1})));
    return 0;
  }
  const auto outcome = replayed(fuzz::text_of({data, size}));
  if (outcome.error) require(!outcome.error->message.empty(), "a refusal says why");
  return 0;
}
