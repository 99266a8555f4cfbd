// The views as JSON text and back: what the coordinator answers to queries and `--format json` prints.
// docs/cli.md describes the documents. No JSON type appears here; what is drawn or tabulated is not made
// here.
//
// Ids and texts are bytes: what is not UTF-8 appears as "\xNN" inside the string (text/text.hpp) and comes
// back as it was. A number that JSON does not have (infinite, not a number) becomes 0. Pure, any thread;
// nothing throws.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "coordinator/views.hpp"

namespace gordian::admin {

/// `T`, or a sentence that says where the text differs from the document that was expected.
template <class T>
using Parsed = tl::expected<T, std::string>;

[[nodiscard]] std::string to_json(const coordinator::StatusView& status);
[[nodiscard]] std::string to_json(const coordinator::GraphView& graph);
[[nodiscard]] std::string to_json(const coordinator::Incident& incident);
/// {"incidents": […]} in the order given.
[[nodiscard]] std::string to_json(const std::vector<coordinator::Incident>& incidents);

/// Keys that are not known are skipped: a newer coordinator may send more.
[[nodiscard]] Parsed<coordinator::StatusView> parse_status(std::string_view json);
[[nodiscard]] Parsed<coordinator::GraphView> parse_graph(std::string_view json);
[[nodiscard]] Parsed<std::vector<coordinator::Incident>> parse_incidents(std::string_view json);

/// The argument of a query: how many at most (unset: the coordinator's default), and which one (empty: all).
struct Selection {
  std::optional<std::size_t> limit;
  std::string id;
};
[[nodiscard]] std::string to_json(const Selection& selection);
/// Empty text is Selection{}; an unknown key or a wrong type is refused.
[[nodiscard]] Parsed<Selection> parse_selection(std::string_view json);

}  // namespace gordian::admin
