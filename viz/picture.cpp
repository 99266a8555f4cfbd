#include "viz/picture.hpp"

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <map>
#include <set>
#include <tuple>

#include "text/text.hpp"

namespace gordian::viz {
namespace {

using coordinator::GraphView;
using coordinator::GroupView;
using coordinator::Incident;
using coordinator::WaitView;

constexpr std::size_t name_characters = 48;
constexpr std::size_t detail_characters = 60;
constexpr std::size_t details_shown = 3;

using GroupKey = std::pair<SiteId, GroupHandle>;

/// Which transactions are deadlocked with each other, directly or by the groups between them.
class Components {
 public:
  explicit Components(const GraphView& graph) {
    using Digraph = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS>;
    std::vector<std::pair<std::size_t, std::size_t>> edges;
    for (const auto& view : graph.waits) {
      const auto waiter = number(txns_, view.wait.waiter);
      for (const auto& blocker : view.wait.blockers) edges.emplace_back(waiter, number(txns_, blocker.txn));
      for (const auto group : view.wait.groups)
        edges.emplace_back(waiter, number(groups_, GroupKey{view.id.site, group}));
    }
    for (const auto& group : graph.groups) {
      const auto from = number(groups_, GroupKey{group.site, group.group});
      for (const auto& member : group.members) edges.emplace_back(from, number(txns_, member));
    }
    const Digraph digraph(edges.begin(), edges.end(), count_);
    component_.resize(count_);
    if (count_ > 0)
      boost::strong_components(
          digraph, boost::make_iterator_property_map(component_.begin(), get(boost::vertex_index, digraph)));
    for (const auto& [txn, v] : txns_) ++txns_in_[component_[v]];
  }

  [[nodiscard]] bool together(const TxnId& a, const TxnId& b) const { return together(txns_.at(a), txns_.at(b)); }
  [[nodiscard]] bool together(const TxnId& txn, const GroupKey& group) const {
    return together(txns_.at(txn), groups_.at(group));
  }

 private:
  /// On a common cycle, if an edge joins them. One transaction and its own group are none.
  [[nodiscard]] bool together(std::size_t a, std::size_t b) const {
    return component_[a] == component_[b] && txns_in_.at(component_[a]) > 1;
  }
  template <class Key>
  std::size_t number(std::map<Key, std::size_t>& numbers, const Key& key) {
    const auto [at, is_new] = numbers.try_emplace(key, count_);
    if (is_new) ++count_;
    return at->second;
  }

  std::map<TxnId, std::size_t> txns_;
  std::map<GroupKey, std::size_t> groups_;
  std::size_t count_ = 0;
  std::vector<int> component_;
  std::map<int, std::size_t> txns_in_;
};

const char* verb(Kind kind) {
  switch (kind) {
    case Kind::hard: return "held by";
    case Kind::soft: return "queued ahead";
    case Kind::dotted: return "held for now by";
  }
  return "held by";
}

/// Puts transactions, sites, resources and lines into the picture, each once.
class Drawing {
 public:
  explicit Drawing(const GraphView& graph) : components_(graph) {
    for (const auto& view : graph.txns) infos_.emplace(view.txn, &view);
    for (const auto& view : graph.waits) add(view);
    for (const auto& group : graph.groups) add(group);
  }
  Picture picture;

 private:
  using Place = std::pair<std::size_t, std::size_t>;  // site, resource within it

  void add(const WaitView& view) {
    const Wait& wait = view.wait;
    const std::size_t waiter = txn(wait.waiter);
    const Place place = resource(view.id.site, wait.resource);
    add_mode(place, text::shortened(wait.mode, name_characters));
    auto& details = picture.txns[waiter].details;
    auto detail = text::shortened(wait.detail, detail_characters);
    if (!detail.empty() && details.size() < details_shown &&
        std::find(details.begin(), details.end(), detail) == details.end())
      details.push_back(std::move(detail));
    bool cycle = false;
    for (const auto& blocker : wait.blockers) {
      if (blocker.txn == wait.waiter) continue;
      const bool together = components_.together(wait.waiter, blocker.txn);
      cycle = cycle || together;
      add_blocks(txn(blocker.txn), place, blocker.kind, verb(blocker.kind), together);
    }
    for (const auto group : wait.groups) {
      cycle = cycle || components_.together(wait.waiter, GroupKey{view.id.site, group});
      group_places_.try_emplace({view.id.site, group}, place);
    }
    std::string text = "waits " + text::span(view.age_ms);
    if (!wait.mode.empty()) text += " (" + text::shortened(wait.mode, name_characters) + ")";
    picture.lines.push_back(
        {Picture::Line::Type::waits, waiter, place.first, place.second, std::move(text), Kind::hard, cycle});
  }

  /// Its members hold what those wait for who name it.
  void add(const GroupView& view) {
    const GroupKey key{view.site, view.group};
    const auto known = group_places_.find(key);
    const Place place = known != group_places_.end() ? known->second : resource(view.site, view.resource);
    std::string text = verb(view.kind);
    if (!view.mode.empty() && view.kind == Kind::hard) text += " (" + text::shortened(view.mode, name_characters) + ")";
    for (const auto& member : view.members)
      add_blocks(txn(member), place, view.kind, text, components_.together(member, key));
    if (view.members_total > view.members.size())
      add_mode(place, "held by " + std::to_string(view.members_total - view.members.size()) + " more");
  }

  std::size_t txn(const TxnId& id) {
    const auto [found, is_new] = txns_.try_emplace(id, picture.txns.size());
    if (is_new) {
      Picture::Txn box{text::shortened(id.view(), name_characters), {}, {}};
      if (const auto info = infos_.find(id); info != infos_.end()) {
        box.label = text::shortened(info->second->info.label, name_characters);
        box.victim = info->second->condemned;
        box.spared = info->second->info.victim_class == TxnInfo::Class::never;
      }
      picture.txns.push_back(std::move(box));
    }
    return found->second;
  }

  Place resource(const SiteId& site, const std::string& name) {
    const auto [at, new_site] = sites_.try_emplace(site, picture.sites.size());
    if (new_site) picture.sites.push_back({text::shortened(site.view(), name_characters), {}});
    auto& resources = picture.sites[at->second].resources;
    const auto [found, is_new] = resources_.try_emplace({site, name}, at->second, resources.size());
    if (is_new) resources.push_back({name.empty() ? "(unnamed)" : text::shortened(name, name_characters), {}});
    return found->second;
  }

  void add_mode(Place place, const std::string& mode) {
    if (mode.empty() || !modes_.emplace(place, mode).second) return;
    std::string& modes = picture.sites[place.first].resources[place.second].modes;
    modes += (modes.empty() ? "" : ", ") + mode;
  }

  /// One line for all who wait for this blocker at this resource.
  void add_blocks(std::size_t blocker, Place place, Kind kind, const std::string& text, bool cycle) {
    const auto [found, is_new] = blocks_.try_emplace({place, blocker, kind}, picture.lines.size());
    if (is_new)
      picture.lines.push_back({Picture::Line::Type::blocks, blocker, place.first, place.second, text, kind, cycle});
    else if (cycle)
      picture.lines[found->second].cycle = true;
  }

  Components components_;
  std::map<GroupKey, Place> group_places_;
  std::map<TxnId, const coordinator::TxnView*> infos_;
  std::map<TxnId, std::size_t> txns_;
  std::map<SiteId, std::size_t> sites_;
  std::map<std::pair<SiteId, std::string>, Place> resources_;
  std::set<std::pair<Place, std::string>> modes_;
  std::map<std::tuple<Place, std::size_t, Kind>, std::size_t> blocks_;
};

/// The incident's edges, put together again as the waits they were taken from.
GraphView graph_of(const Incident& incident) {
  GraphView graph;
  for (const auto& member : incident.txns) graph.txns.push_back({member.txn, member.info, member.victim});
  std::map<WaitId, std::size_t> waits;
  for (const auto& edge : incident.edges) {
    const auto [found, is_new] = waits.try_emplace(edge.wait, graph.waits.size());
    if (is_new)
      graph.waits.push_back({edge.wait, Wait{edge.waiter, {}, edge.resource, edge.mode, edge.detail}, edge.age_ms});
    graph.waits[found->second].wait.blockers.push_back({edge.blocker, edge.kind});
  }
  return graph;
}

std::string counted(std::size_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

}  // namespace

Picture draw(const GraphView& graph) {
  Picture picture = Drawing(graph).picture;
  picture.title = {"Who waits for whom", graph.waits.empty() ? "nobody waits"
                                                             : counted(picture.txns.size(), "transaction") + ", " +
                                                                   counted(graph.waits.size(), "wait") +
                                                                   (graph.truncated ? " shown, more left out" : "")};
  return picture;
}

Picture draw(const Incident& incident) {
  Picture picture = Drawing(graph_of(incident)).picture;
  std::string outcome = text::utc(incident.found_unix_us) + ", " + coordinator::name(incident.outcome);
  if (incident.resolve_us > 0) outcome += " in " + text::span(static_cast<double>(incident.resolve_us) / 1000);
  picture.title = {"Deadlock " + text::shortened(incident.id, name_characters), std::move(outcome)};
  if (!incident.why.empty()) picture.title.push_back(text::shortened(incident.why, 2 * detail_characters));
  return picture;
}

}  // namespace gordian::viz
