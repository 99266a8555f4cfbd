#include "cli/present.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "cli/table.hpp"
#include "text/text.hpp"

namespace gordian::cli {
namespace {

using coordinator::Incident;
using coordinator::IncidentEdge;
using coordinator::SiteView;
using coordinator::StatusView;

constexpr std::size_t detail_characters = 200;

template <class Ids>
std::string listed(const Ids& ids) {
  std::string list;
  for (const auto& id : ids) list += (list.empty() ? "" : ", ") + text::visible(id.view());
  return list;
}

std::string ms(std::int64_t us) { return text::span(static_cast<double>(us) / 1000); }

std::string counted(std::size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

/// What is missing, or nothing.
std::string degraded_text(const StatusView& status) {
  if (!status.degraded) return {};
  std::string away;
  for (const auto& site : status.sites)
    if (site.state != SiteView::State::complete)
      away += (away.empty() ? "" : ", ") + text::visible(site.site.view()) + " (" + name(site.state) + ")";
  return "DEGRADED: waits are missing from sites " + away +
         "; deadlocks through them are not found until they are back.\n";
}

std::string sites_table(const StatusView& status) {
  Table table;
  table.add({"SITE", "STATE", "ENGINE", "WAITS", "LAST HEARD", "LOCAL DEADLOCKS", "AGENT", "WHERE"});
  for (const auto& site : status.sites) {
    const bool heard = site.incarnation != 0;
    table.add({text::visible(site.site.view()), name(site.state), cell(site.engine), std::to_string(site.waits),
               heard ? text::span(site.last_heard_ms) + " ago" : "never",
               heard ? (site.resolve_local_deadlocks ? "gordian" : "engine") : "-", cell(site.software),
               cell(site.label)});
  }
  return table.text();
}

/// The coordinators that share the graph, if there are several.
std::string members_table(const StatusView& status) {
  if (status.members.empty()) return {};
  Table table;
  table.add({"COORDINATOR", "STATE", "ENDPOINT"});
  for (const auto& member : status.members)
    table.add(
        {cell(member.name) + (member.self ? " (asked)" : ""), member.alive ? "alive" : "away", cell(member.endpoint)});
  return table.text() + "\n";
}

/// A transaction with its application: "T1 (billing)".
std::string named(const TxnId& txn, const std::map<TxnId, std::string>& labels) {
  const auto found = labels.find(txn);
  const std::string label = found == labels.end() ? "" : text::shortened(found->second, cell_characters);
  return text::visible(txn.view()) + (label.empty() ? "" : " (" + label + ")");
}

const char* in_the_way(Kind kind) {
  switch (kind) {
    case Kind::hard: return "held by  ";
    case Kind::soft: return "behind   ";
    case Kind::dotted: return "held for now by ";
  }
  return "held by  ";
}

bool reordered(const Incident& incident) {
  return std::any_of(incident.edges.begin(), incident.edges.end(), [](const auto& edge) { return edge.reordered; });
}

std::string waits_text(const Incident& incident, const std::map<TxnId, std::string>& labels) {
  // One wait may have several blockers; its edges stand side by side here.
  std::map<WaitId, std::vector<const IncidentEdge*>> waits;
  for (const auto& edge : incident.edges) waits[edge.wait].push_back(&edge);
  std::string out;
  for (const auto& [id, edges] : waits) {
    const IncidentEdge& wait = *edges.front();
    std::map<std::string, std::string> blockers;  // by how they stand in the way, one line each
    for (const auto* edge : edges) {
      auto& line = blockers[in_the_way(edge->kind)];
      const auto blocker = named(edge->blocker, labels);
      line += (line.empty() ? "" : " and ") + blocker + (edge->reordered ? " (was let past it)" : "");
    }
    out += "  " + named(wait.waiter, labels) + " had waited " + text::span(wait.age_ms) + " at site " +
           text::visible(id.site.view()) + "\n";
    out += "    for      " + cell(wait.resource) + (wait.mode.empty() ? "" : " (" + cell(wait.mode) + ")") + "\n";
    for (const auto& [how, who] : blockers) out += "    " + how + who + "\n";
    if (!wait.detail.empty()) out += "    doing    " + text::shortened(wait.detail, detail_characters) + "\n";
  }
  return out;
}

std::string steps_text(const Incident& incident) {
  Table table;
  for (const auto& step : incident.steps) table.add({"  +" + ms(step.after_us), text::visible(step.what)});
  return table.text();
}

std::string outcome_text(const Incident& incident) {
  std::string outcome = name(incident.outcome);
  if (incident.resolve_us > 0) outcome += " in " + ms(incident.resolve_us);
  return outcome;
}

}  // namespace

std::string status_text(const StatusView& status) {
  std::string out = degraded_text(status);
  for (const auto& member : status.members)
    if (!member.alive)
      out += "AWAY: coordinator " + cell(member.name) + " at " + cell(member.endpoint) +
             "; deadlocks through its transactions are not found until it is back.\n";
  out += "coordinator " + cell(status.version) + ", epoch " + std::to_string(status.epoch) + ", up " +
         text::span(status.uptime_s * 1000) + ", policy " + cell(status.policy) + "\n";
  out += counted(status.txns, "transaction") + ", " + counted(status.waits, "wait") + ", " +
         counted(status.edges, "edge") + "\n\n";
  out += members_table(status);
  out += status.sites.empty() ? "no site has reported yet: start an agent with --coordinator\n" : sites_table(status);
  if (status.counters.empty()) return out;
  Table table;
  table.add({"COUNTER", "SINCE START"});
  for (const auto& [key, count] : status.counters) table.add({cell(key), std::to_string(count)});
  return out + "\n" + table.text();
}

std::string deadlocks_table(const std::vector<Incident>& incidents) {
  if (incidents.empty()) return "no deadlocks so far\n";
  Table table;
  table.add({"FOUND", "ID", "OUTCOME", "VICTIM", "MEMBERS", "SITES", "CONFIRMED IN", "RESOLVED IN"});
  for (const auto& incident : incidents) {
    std::set<SiteId> sites;
    std::vector<TxnId> members;
    for (const auto& edge : incident.edges) sites.insert(edge.wait.site);
    for (const auto& member : incident.txns) members.push_back(member.txn);
    table.add({text::utc(incident.found_unix_us), cell(incident.id), name(incident.outcome),
               !incident.victims.empty() ? listed(incident.victims)
               : reordered(incident)     ? "none: reorder"
                                         : "-",
               std::to_string(members.size()) + ": " + cell(listed(members)), listed(sites), ms(incident.confirm_us),
               incident.resolve_us > 0 ? ms(incident.resolve_us) : "-"});
  }
  return table.text();
}

std::string story(const Incident& incident) {
  std::map<TxnId, std::string> labels;
  std::string victims, spared;
  for (const auto& member : incident.txns) labels.emplace(member.txn, member.info.label);
  for (const auto& victim : incident.victims) victims += (victims.empty() ? "" : ", ") + named(victim, labels);
  for (const auto& member : incident.txns)
    if (!member.victim) spared += (spared.empty() ? "" : ", ") + named(member.txn, labels);

  std::string out = "Deadlock " + text::visible(incident.id) + ", found " + text::utc(incident.found_unix_us) + ", " +
                    outcome_text(incident) + "\n\n";
  out += "Who waited for whom, as confirmed by the sites:\n" + waits_text(incident, labels);
  out += "\nVictim:  " +
         (!victims.empty()      ? victims
          : reordered(incident) ? "none: a reorder of the queue was enough"
                                : "none") +
         "\n";
  out += "Why:     " + (incident.why.empty() ? "-" : text::visible(incident.why)) + " (policy " +
         cell(incident.policy) + ")\n";
  out += "Spared:  " + (spared.empty() ? "nobody" : spared) + "\n";
  return out + "\nWhat was done, and when after it was found:\n" + steps_text(incident);
}

}  // namespace gordian::cli
