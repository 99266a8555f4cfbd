#include "coordinator/gathering.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace gordian::coordinator {
namespace {

constexpr std::size_t rounds_max = 1000;  ///< at once; further suspicions wait for the next probe
constexpr std::size_t later_max = 1000;
constexpr unsigned attempts_max = 6;
constexpr std::int64_t pause_us = 5'000;  ///< after the first refusal; doubles

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

/// A start of its own numbers its probes above those of the starts before.
detect::EdgeChaser::Options chasing(const Options& options) {
  auto chasing = options.chasing;
  chasing.first_round = first_number(options.instance);
  return chasing;
}

std::vector<TxnId> waiters(const std::vector<wire::GlobalEdge>& edges) {
  std::vector<TxnId> txns;
  for (const auto& edge : edges) txns.push_back(edge.waiter);
  return txns;
}

}  // namespace

void Gathering::Names::name(graph::WaitRef wait, wire::GlobalEdge& edge) const {
  const auto& site = sites_.at(wait.site);
  edge.site = site.id;
  edge.incarnation = site.incarnation;
  edge.sequence = wait.sequence;
  edge.since = sites_.edge_number(wait, edge.blocker);
  edge.age_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_us_ - sites_.find(wait)->began_us));
}

std::optional<graph::WaitRef> Gathering::Names::find(const wire::GlobalEdge& edge) const {
  const auto slot = sites_.live_slot(edge.site, edge.incarnation);
  if (!slot || sites_.find({*slot, edge.sequence}) == nullptr) return std::nullopt;
  return graph::WaitRef{*slot, edge.sequence};
}

Gathering::Gathering(const Options& options, const graph::WaitForGraph& graph, const Sites& sites, Peers& peers,
                     Outbox& out)
    : options_(options),
      graph_(graph),
      sites_(sites),
      peers_(peers),
      out_(out),
      names_(sites),
      chaser_(graph, names_, options.map, peers.self(), chasing(options)),
      last_round_(first_number(options.instance)) {}

void Gathering::follow(const std::vector<Touched>& touched, Time now) {
  if (peers_.alone()) return;
  names_.set_now(now.steady_us);
  std::set<graph::WaitRef> begun;
  std::map<graph::GroupRef, bool> followed;  // does anybody wait for the group who did before?
  for (const auto& place : touched) {
    if (const auto* wait = std::get_if<Begun>(&place)) begun.insert(wait->wait);
  }
  for (const auto& place : touched) {
    if (const auto* wait = std::get_if<Begun>(&place)) {
      chaser_.begin(wait->wait, now.steady_us);
      continue;
    }
    // Whoever waits for the group waits for this one now: a cycle through it comes back to its own waits.
    const auto& joined = std::get<Joined>(place);
    const auto [known, is_new] = followed.try_emplace(joined.group, false);
    if (const auto group = graph_.find_group(joined.group); is_new && group)
      known->second = std::ranges::any_of(graph_.in_edges(*group), [&](graph::EdgeSlot e) {
        return !begun.contains(graph_.ref(graph_.wait(e)));  // those that begin now are followed themselves
      });
    if (known->second) chaser_.joined({joined.group, joined.txn}, now.steady_us);
  }
  send_out(now);
}

/// What the chaser has to say; a suspect that this one leads needs no message.
void Gathering::send_out(Time now) {
  for (auto& out : chaser_.take_outgoing()) {
    if (out.member != peers_.self()) {
      peers_.send(out.member, std::move(out.message));
    } else if (const auto* suspect = std::get_if<wire::Suspect>(&out.message)) {
      receive(out.member, *suspect, now);
    }
  }
}

void Gathering::receive(std::size_t, const wire::Probe& m, Time now) {
  names_.set_now(now.steady_us);
  chaser_.receive(m);
  send_out(now);
}

void Gathering::receive(std::size_t, const wire::Poke& m, Time now) {
  names_.set_now(now.steady_us);
  chaser_.poke(m.txn, now.steady_us);
  send_out(now);
}

void Gathering::receive(std::size_t, const wire::Suspect& m, Time now) {
  const auto simple = [](const wire::GlobalEdge& edge) {
    return edge.alone && edge.kind == Kind::hard && edge.need == 0;
  };
  if (std::ranges::all_of(m.cycle, simple)) {
    evidence_.push_back({m.cycle, {}});
  } else {
    collect(waiters(m.cycle), now);
  }
}

void Gathering::collect(std::vector<TxnId> txns, Time now) {
  const auto covered = [&](const auto& entry) {
    return std::ranges::all_of(txns, [&](const TxnId& txn) { return entry.second.asked.contains(txn); });
  };
  if (std::ranges::any_of(rounds_, covered)) return;  // it is being collected
  if (rounds_.size() >= rounds_max) return out_.count("limit_gatherings");
  out_.count("gatherings");
  names_.set_now(now.steady_us);
  const auto number = ++last_round_;
  auto& round = rounds_.emplace(number, Round{{}, {}, {}, now.steady_us + us(options_.confirm_timeout)}).first->second;
  ask(number, round, std::move(txns));
  finish_if_complete(number);
}

void Gathering::collect_later(std::vector<TxnId> txns, unsigned attempt, Time now) {
  if (attempt > attempts_max || later_.size() >= later_max) return out_.count("cases_left_to_probes");
  // Two leaders that refused each other must not meet again: each has its own rhythm.
  const auto rhythm = static_cast<std::int64_t>(1 + peers_.self() % 7);
  later_.push_back({now.steady_us + (pause_us << attempt) * rhythm / 4, std::move(txns)});
}

/// Our own part at once, the others' by message.
void Gathering::ask(std::uint64_t number, Round& round, std::vector<TxnId> txns) {
  std::map<std::size_t, std::vector<TxnId>> questions;
  std::vector<TxnId> own;
  while (!txns.empty()) {
    own.clear();
    for (auto& txn : txns) {
      if (!round.asked.insert(txn).second) continue;
      const auto owner = peers_.owner(txn);
      (owner == peers_.self() ? own : questions[owner]).push_back(std::move(txn));
    }
    auto closure = chaser_.closure(own);
    for (const auto& txn : closure.txns) round.asked.insert(txn);
    txns = std::exchange(closure.elsewhere, {});
    add(round.evidence, std::move(closure));
  }
  for (auto& [member, asked] : questions) {
    if (asked.size() > options_.chasing.limits.members) {
      out_.count("limit_gathered");
      asked.erase(asked.begin() + static_cast<std::ptrdiff_t>(options_.chasing.limits.members), asked.end());
    }
    round.unanswered.insert(member);
    peers_.send(member, wire::Gather{number, std::move(asked)});
  }
}

void Gathering::add(Evidence& evidence, detect::Closure closure) const {
  if (!closure.complete) out_.count("limit_gathered");
  for (const auto& txn : closure.txns) sites_.describe(txn, evidence.described);
  std::ranges::move(closure.edges, std::back_inserter(evidence.edges));
}

void Gathering::receive(std::size_t from, const wire::Gather& m, Time now) {
  names_.set_now(now.steady_us);
  auto closure = chaser_.closure(m.txns);
  wire::Gathered reply{m.gather, closure.complete, {}, {}};
  for (const auto& txn : closure.txns) sites_.describe(txn, reply.described);
  reply.edges = std::move(closure.edges);
  peers_.send(from, std::move(reply));
}

void Gathering::receive(std::size_t from, const wire::Gathered& m, Time now) {
  names_.set_now(now.steady_us);
  const auto it = rounds_.find(m.gather);
  if (it == rounds_.end()) return out_.count("stale_messages");
  auto& round = it->second;
  const auto asked = round.unanswered.find(from);
  if (asked == round.unanswered.end()) return out_.count("stale_messages");
  round.unanswered.erase(asked);
  if (!m.complete) out_.count("limit_gathered");
  std::vector<TxnId> further;
  for (const auto& edge : m.edges) {
    round.asked.insert(edge.waiter);
    further.push_back(edge.blocker);
  }
  round.evidence.edges.insert(round.evidence.edges.end(), m.edges.begin(), m.edges.end());
  round.evidence.described.insert(round.evidence.described.end(), m.described.begin(), m.described.end());
  if (round.evidence.edges.size() > options_.chasing.limits.gathered_edges) {
    out_.count("limit_gathered");
  } else {
    // Of the sender's own only those that it did not send: they wait for nobody.
    std::erase_if(further, [&](const TxnId& txn) { return peers_.owner(txn) == from; });
    ask(m.gather, round, std::move(further));
  }
  finish_if_complete(m.gather);
}

void Gathering::finish_if_complete(std::uint64_t number) {
  const auto it = rounds_.find(number);
  if (!it->second.unanswered.empty()) return;
  evidence_.push_back(std::move(it->second.evidence));
  rounds_.erase(it);
}

std::vector<Evidence> Gathering::take_evidence() { return std::exchange(evidence_, {}); }

void Gathering::tick(Time now) {
  if (peers_.alone()) return;
  names_.set_now(now.steady_us);
  chaser_.tick(now.steady_us);
  send_out(now);
  for (auto it = rounds_.begin(); it != rounds_.end();) {
    if (it->second.deadline_us > now.steady_us) {
      ++it;
      continue;
    }
    out_.count("gatherings_timed_out");
    evidence_.push_back(std::move(it->second.evidence));
    it = rounds_.erase(it);
  }
  std::vector<Later> due;
  std::erase_if(later_, [&](Later& later) {
    if (later.due_us > now.steady_us) return false;
    due.push_back(std::move(later));
    return true;
  });
  for (auto& later : due) collect(std::move(later.txns), now);
}

std::int64_t Gathering::next_tick_us() const {
  auto next = chaser_.next_tick_us();
  for (const auto& [number, round] : rounds_) next = std::min(next, round.deadline_us);
  for (const auto& later : later_) next = std::min(next, later.due_us);
  return next;
}

void Gathering::add_counters(std::map<std::string, std::uint64_t>& counters) const {
  if (peers_.alone()) return;
  const auto& c = chaser_.counters();
  counters["probe_initiations"] = c.initiations;
  counters["probes_sent"] = c.probes_sent;
  counters["probes_received"] = c.probes_received;
  counters["probes_duplicate"] = c.duplicates;
  counters["probes_stale"] = c.stale;
  counters["limit_probe_path"] = c.path_limit;
  counters["limit_probe_fan_out"] = c.fan_out_limit;
  counters["suspects"] = c.suspects;
}

}  // namespace gordian::coordinator
