// Puts the parts together: messages to sites, what they touched to the resolution, and the views.
#include "coordinator/coordinator.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "coordinator/outbox.hpp"
#include "coordinator/peers.hpp"
#include "coordinator/resolution.hpp"
#include "coordinator/sites.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::coordinator {

class Coordinator::Impl {
 public:
  Impl(Options options, Time now)
      : options_(std::move(options)),
        epoch_(options_.epoch),
        started_us_(now.steady_us),
        sites_(options_, epoch_, graph_, out_, now),
        peers_(options_, out_, now),
        resolution_(options_, epoch_, graph_, sites_, peers_, out_, now) {}

  void receive(const PeerId& peer, const wire::FromAgent& message, Time now) {
    out_.count("messages");
    if (const auto* hello = std::get_if<wire::Hello>(&message)) {
      sites_.hello(peer, *hello, now);
    } else if (auto* site = sites_.of_peer(peer); site != nullptr) {
      site->last_heard_us = now.steady_us;
      std::visit([&](const auto& m) { on(*site, m, now); }, message);
    } else {
      out_.count("unknown_sessions");
      out_.send(peer, wire::Error{wire::Error::Code::unknown_session, "no session with this peer: say hello first"});
    }
    follow_up(now);
  }

  void receive(const PeerId& peer, const wire::FromPeer& message, Time now) {
    if (peers_.alone())
      return refused(peer, {wire::Error::Code::malformed, "message of coordinator '" + message.member +
                                                              "', but this one shares its graph with nobody"});
    if (const auto from = peers_.admit(peer, message, now)) resolution_.receive(*from, message.message, now);
    follow_up(now);
  }

  void refused(const PeerId& peer, const wire::Error& error) {
    const auto name = "refused_" + std::string(wire::name(error.code));
    out_.count(name.c_str());
    // A flood must not fill the log: the first is told, then every power of two.
    if (const auto n = out_.counters[name]; (n & (n - 1)) == 0)
      out_.note(Note::Level::warn, "message refused (" + name + ", " + std::to_string(n) + " so far): " + error.text);
    out_.send(peer, error);
  }

  void peer_complains(std::size_t member, const std::string& text) {
    const auto n = ++out_.counters["peer_complaints"];
    if ((n & (n - 1)) == 0)
      out_.note(Note::Level::warn, "coordinator '" + peers_.name(member) + "' refused a message of this one (" +
                                       std::to_string(n) + " refused so far): " + text);
  }

  void tick(Time now) {
    sites_.tick(now);
    follow_up(now);
    resolution_.tick(now);
  }

  [[nodiscard]] std::int64_t next_tick_us() const {
    return std::min({sites_.next_tick_us(), resolution_.next_tick_us(), peers_.next_tick_us()});
  }

  [[nodiscard]] StatusView status(Time now) const {
    StatusView view;
    view.version = options_.version;
    view.epoch = epoch_;
    view.uptime_s = static_cast<double>(now.steady_us - started_us_) / 1e6;
    view.policy = detect::name(options_.policy);
    view.degraded = sites_.degraded();
    for (const auto& [id, site] : sites_.all()) {
      if (site.left) continue;
      const auto heard_ms =
          site.incarnation == 0 ? 0.0 : static_cast<double>(now.steady_us - site.last_heard_us) / 1000.0;
      view.sites.push_back({id, site.engine, site.label, site.software, site.state, site.incarnation, site.applied,
                            heard_ms, graph_.wait_count(site.slot), site.resolve_local_deadlocks});
    }
    view.txns = graph_.vertex_count() - graph_.group_count();
    view.groups = graph_.group_count();
    view.waits = graph_.wait_count();
    view.edges = graph_.edge_count();
    view.counters = out_.counters;
    view.counters["graph_changes"] = graph_.edge_changes();
    view.counters["search_steps"] = resolution_.search_steps();
    resolution_.add_counters(view.counters);
    view.members = peers_.views(now);
    return view;
  }

  [[nodiscard]] GraphView graph(Time now, std::size_t limit) const {
    GraphView view;
    std::set<TxnId> named;
    for (const auto& [id, site] : sites_.all()) {
      std::set<std::uint64_t> groups;
      for (const auto sequence : graph_.sequences(site.slot)) {
        if (view.waits.size() >= limit) {
          view.truncated = true;
          break;
        }
        const graph::WaitRef ref{site.slot, sequence};
        const auto age_ms = static_cast<double>(now.steady_us - sites_.find(ref)->began_us) / 1000.0;
        const auto& wait =
            view.waits.emplace_back(WaitView{{id, site.incarnation, sequence}, sites_.wait(ref), age_ms}).wait;
        named.insert(wait.waiter);
        for (const auto& b : wait.blockers) named.insert(b.txn);
        for (const auto group : wait.groups) groups.insert(static_cast<std::uint64_t>(group));
      }
      for (const auto number : groups) {
        if (!site.groups.contains(number)) continue;  // over a limit
        view.groups.push_back(group_view(site, number));
        named.insert(view.groups.back().members.begin(), view.groups.back().members.end());
      }
    }
    for (const auto& txn : named) view.txns.push_back({txn, sites_.info(txn), resolution_.condemned(txn)});
    return view;
  }

  [[nodiscard]] std::vector<Incident> incidents(std::size_t limit, const std::string& id) const {
    return resolution_.incidents(limit, id);
  }

  Outbox out_;

 private:
  [[nodiscard]] GroupView group_view(const Site& site, std::uint64_t number) const {
    const auto& group = site.groups.at(number);
    std::vector<std::pair<bool, TxnId>> members;  // (waits for nobody, id): who waits matters most
    for (const auto& [txn, since] : group.members) {
      const auto v = graph_.find_txn(txn);
      members.emplace_back(!v || graph_.waits(*v).empty(), txn);
    }
    const auto shown = std::min(members.size(), GraphView::members_max);
    const auto end = members.begin() + static_cast<std::ptrdiff_t>(shown);
    std::partial_sort(members.begin(), end, members.end());
    GroupView view{site.id, GroupHandle{number}, group.resource, group.mode, {}, members.size(), group.kind};
    for (auto member = members.begin(); member != end; ++member) view.members.push_back(std::move(member->second));
    return view;
  }

  void on(Site&, const wire::Hello&, Time) {}  // handled before a site is looked up
  void on(Site& site, const wire::Heartbeat& m, Time) { sites_.heartbeat(site, m); }
  void on(Site& site, const wire::Delta& m, Time now) { sites_.delta(site, m, now); }
  void on(Site& site, const wire::Snapshot& m, Time now) { sites_.snapshot(site, m, now); }
  void on(Site& site, const wire::Goodbye& m, Time) { sites_.goodbye(site, m); }
  void on(Site& site, const wire::Confirmed& m, Time now) { resolution_.confirmed(site, m, now); }
  void on(Site& site, const wire::Aborted& m, Time now) { resolution_.aborted(site, m, now); }

  void follow_up(Time now) {
    for (const auto slot : sites_.take_lost()) resolution_.site_lost(slot, now);
    if (sites_.touched().empty()) return;
    resolution_.consider(sites_.touched(), now);
    sites_.forget_touched();
  }

  const Options options_;
  std::uint64_t epoch_;
  std::int64_t started_us_;
  graph::WaitForGraph graph_;
  Sites sites_;
  Peers peers_;
  Resolution resolution_;
};

Coordinator::Coordinator(Options options, Time now) : impl_(std::make_unique<Impl>(std::move(options), now)) {}
Coordinator::~Coordinator() = default;

void Coordinator::receive(const PeerId& peer, const wire::FromAgent& message, Time now) {
  impl_->receive(peer, message, now);
}
void Coordinator::receive(const PeerId& peer, const wire::FromPeer& message, Time now) {
  impl_->receive(peer, message, now);
}
void Coordinator::refused(const PeerId& peer, const wire::Error& error, Time) { impl_->refused(peer, error); }
void Coordinator::peer_missed(std::size_t) { impl_->out_.count("peer_messages_lost"); }
void Coordinator::peer_complains(std::size_t member, const std::string& text) { impl_->peer_complains(member, text); }
void Coordinator::tick(Time now) { impl_->tick(now); }
std::int64_t Coordinator::next_tick_us() const { return impl_->next_tick_us(); }
std::vector<Outgoing> Coordinator::take_outgoing() { return std::exchange(impl_->out_.outgoing, {}); }
std::vector<PeerOutgoing> Coordinator::take_peer_outgoing() { return std::exchange(impl_->out_.peer_outgoing, {}); }
std::vector<Event> Coordinator::take_events() { return std::exchange(impl_->out_.events, {}); }
StatusView Coordinator::status(Time now) const { return impl_->status(now); }
GraphView Coordinator::graph(Time now, std::size_t limit) const { return impl_->graph(now, limit); }
std::vector<Incident> Coordinator::incidents(std::size_t limit, const std::string& id) const {
  return impl_->incidents(limit, id);
}

}  // namespace gordian::coordinator
