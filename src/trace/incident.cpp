// The texts of incidents and failed expectations. Ids come from a trace, so they are UTF-8; resources too.
#include "trace/incident.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace gordian::trace {
namespace {

using nlohmann::ordered_json;

ordered_json list_of(const std::vector<TxnId>& txns) {
  auto list = ordered_json::array();
  for (const auto& txn : txns) list.push_back(txn.str());
  return list;
}

std::vector<std::string> without(const std::vector<std::string>& all, const std::vector<std::string>& gone) {
  std::vector<std::string> rest;
  std::ranges::copy_if(all, std::back_inserter(rest),
                       [&](const auto& item) { return std::ranges::find(gone, item) == gone.end(); });
  return rest;
}

std::string set_text(const std::vector<std::string>& items) {
  std::string text;
  for (const auto& item : items) text.append(text.empty() ? "" : ", ").append(item);
  return "{" + text + "}";
}

}  // namespace

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::hard: return "hard";
    case Kind::soft: return "soft";
    case Kind::dotted: return "dotted";
  }
  return "?";
}

std::string to_json(const Incident& incident) {
  auto cycle = ordered_json::array();
  for (const auto& edge : incident.cycle)
    cycle.push_back({{"waiter", edge.waiter.str()},
                     {"blocker", edge.blocker.str()},
                     {"site", edge.site.str()},
                     {"resource", edge.resource},
                     {"kind", name(edge.kind)}});
  auto reorder = ordered_json::array();
  for (const auto& one : incident.reorder)
    reorder.push_back({{"waiter", one.waiter.str()},
                       {"behind", one.behind.str()},
                       {"site", one.site.str()},
                       {"resource", one.resource}});
  return ordered_json{{"incident", incident.number},
                      {"line", incident.line},
                      {"victims", list_of(incident.victims)},
                      {"deadlocked", list_of(incident.deadlocked)},
                      {"reorder", std::move(reorder)},
                      {"cycle", std::move(cycle)},
                      {"policy", detect::name(incident.policy)}}
      .dump();
}

std::string to_string(const FailedExpectation& failed) {
  auto text = failed.key + ": expected " + set_text(failed.expected) + ", found " + set_text(failed.found);
  const auto missing = without(failed.expected, failed.found);
  const auto extra = without(failed.found, failed.expected);
  if (missing.empty() && extra.empty()) return text;
  text += " (";
  if (!missing.empty()) text += "missing " + set_text(missing);
  if (!extra.empty()) text += std::string(missing.empty() ? "" : ", ") + "extra " + set_text(extra);
  return text + ")";
}

}  // namespace gordian::trace
