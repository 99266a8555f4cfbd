#include "gordiand/answers.hpp"

#include <algorithm>

#include "admin/json.hpp"

namespace gordian::gordiand {
namespace {

using coordinator::Incident;
using Answer = tl::expected<std::string, std::string>;

// While one is written nothing else is done: a graph of this size takes about 0.1 s.
constexpr std::size_t graph_waits_max = 20'000;
constexpr std::size_t incidents_default = 50;
constexpr std::size_t incidents_max = 5'000;

/// Those in memory are newer than what the history has of them; older ones only the history has.
Answer incidents(const coordinator::Coordinator& core, const admin::Selection& selection, Journal& journal) {
  const std::size_t limit = std::min(selection.limit.value_or(incidents_default), incidents_max);
  std::vector<Incident> found = core.incidents(limit, selection.id);
  if (found.size() < limit && (selection.id.empty() || found.empty())) {
    auto stored = journal.incidents(limit, selection.id);
    if (!stored) return tl::unexpected(stored.error().message);
    for (auto& incident : *stored) {
      const auto same = [&](const Incident& other) { return other.id == incident.id; };
      if (found.size() < limit && std::none_of(found.begin(), found.end(), same)) found.push_back(std::move(incident));
    }
  }
  return admin::to_json(found);
}

}  // namespace

Answer answer(const coordinator::Coordinator& core, coordinator::Time now, std::string_view what,
              std::string_view argument, Journal& journal) {
  const auto selection = admin::parse_selection(argument);
  if (!selection) return tl::unexpected("query " + std::string(what) + ": " + selection.error());
  if (what == "status") return admin::to_json(core.status(now));
  if (what == "graph")
    return admin::to_json(core.graph(now, std::min(selection->limit.value_or(graph_waits_max), graph_waits_max)));
  if (what == "incidents") return incidents(core, *selection, journal);
  return tl::unexpected("query \"" + std::string(what) + "\" is not known; expected status, graph or incidents");
}

}  // namespace gordian::gordiand
