// The engine's reports, and turning what changed into messages. The session with the coordinator is in session.cpp.
#include "agent/agent_core.hpp"

#include <algorithm>
#include <utility>

#include "wire/codec.hpp"

namespace gordian::agent {
namespace {

// A message is closed once it has this many changes or bytes: large enough to share the cost of a message, small enough
// never to hold up a heartbeat. One change alone may be larger, up to wire::Limits.
constexpr std::size_t batch_changes = 1000;
constexpr std::size_t batch_bytes = 256 * std::size_t{1024};

std::uint64_t number_of(WaitHandle wait) { return static_cast<std::uint64_t>(wait); }

}  // namespace

AgentCore::AgentCore(Options options, std::int64_t now_us)
    : options_(std::move(options)), last_heard_us_(now_us), next_hello_us_(now_us) {}

// --- Reports ---

tl::unexpected<AgentError> AgentCore::over_limit(std::string what, std::size_t limit, const char* advice) {
  ++counters_.limit_reached;
  return tl::unexpected(AgentError{AgentError::Code::limit_reached,
                                   "site " + options_.site.str() + ": " + std::move(what) + ", at most " +
                                       std::to_string(limit) + " are allowed; " + advice});
}

tl::expected<void, AgentError> AgentCore::check(const Wait& wait) {
  const auto& limits = options_.limits;
  const auto standing = options_.cores == nullptr ? waits_.size() : options_.cores->waits();
  if (standing >= limits.waits)
    return over_limit(std::to_string(standing + 1) + " waits", limits.waits, "raise AgentLimits::waits");
  if (wait.blockers.size() > limits.blockers_per_wait)
    return over_limit("wait of " + wait.waiter.str() + " with " + std::to_string(wait.blockers.size()) + " blockers",
                      limits.blockers_per_wait, "raise AgentLimits::blockers_per_wait");
  if (wait.groups.size() > limits.groups_per_wait)
    return over_limit("wait of " + wait.waiter.str() + " with " + std::to_string(wait.groups.size()) + " groups",
                      limits.groups_per_wait, "raise AgentLimits::groups_per_wait");
  for (const auto group : wait.groups) {
    if (standing_group(group) == nullptr)
      return tl::unexpected(
          AgentError{AgentError::Code::unknown_group, "wait of " + wait.waiter.str() + ": group " +
                                                          std::to_string(static_cast<std::uint64_t>(group)) +
                                                          " was ended, or never begun"});
  }
  if (auto fits = check_need(wait, wait.blockers, wait.need); !fits) return fits;
  return check_texts(wait.resource, wait.mode);
}

/// `blockers` are to be those of the wait. One that needs some of several names all of them, and each for good.
tl::expected<void, AgentError> AgentCore::check_need(const Wait& wait, const std::vector<Blocker>& blockers,
                                                     std::uint32_t need) {
  if (need == 0) return {};
  const auto wrong = [&](const std::string& what) {
    return tl::unexpected(AgentError{AgentError::Code::invalid_wait,
                                     "wait of " + wait.waiter.str() + " needs " + std::to_string(need) + what});
  };
  if (!wait.groups.empty()) return wrong(", and names groups: name the blockers, or need all of them (Wait::need = 0)");
  if (std::any_of(blockers.begin(), blockers.end(), [](const Blocker& b) { return b.kind == Kind::soft; }))
    return wrong(" of several, one of which is only queued ahead: leave that one out, or need all (Wait::need = 0)");
  if (need > blockers.size())
    return wrong(" of " + std::to_string(blockers.size()) + " blockers: at most so many can be needed");
  return {};
}

tl::expected<void, AgentError> AgentCore::check_texts(const std::string& resource, const std::string& mode) {
  for (const auto* text : {&resource, &mode}) {
    if (text->size() > options_.limits.resource_bytes)
      return over_limit("resource or mode of " + std::to_string(text->size()) + " bytes",
                        options_.limits.resource_bytes, "shorten it or hash it");
  }
  return {};
}

tl::expected<WaitHandle, AgentError> AgentCore::begin_wait(Wait wait, std::int64_t now_us) {
  if (auto fits = check(wait); !fits) return tl::unexpected(fits.error());
  if (wait.detail.size() > options_.limits.detail_bytes) wait.detail.resize(options_.limits.detail_bytes);
  const auto sequence = options_.cores == nullptr ? ++last_sequence_ : options_.cores->next_sequence();
  const auto began_us = now_us - std::max<std::int64_t>(0, wait.age.count());
  auto blockers = std::exchange(wait.blockers, {});
  std::sort(wait.groups.begin(), wait.groups.end());
  wait.groups.erase(std::unique(wait.groups.begin(), wait.groups.end()), wait.groups.end());
  txns_[wait.waiter].waits.insert(sequence);
  auto& standing = waits_.emplace(sequence, Standing{std::move(wait), {}, began_us}).first->second;
  assign_blockers(standing, blockers, standing.wait.need);
  name_groups(standing);
  unpublished_.emplace(began_us + options_.publish_after_us, sequence);
  return WaitHandle{sequence};
}

void AgentCore::assign_blockers(Standing& standing, const std::vector<Blocker>& blockers, std::uint32_t need) {
  std::unordered_map<TxnId, Edge> edges;
  edges.reserve(blockers.size());
  for (const auto& b : blockers) {
    if (b.txn == standing.wait.waiter) continue;
    const auto [it, fresh] = edges.emplace(b.txn, Edge{b.kind, next_number()});
    if (!fresh && b.kind < it->second.kind) it->second.kind = b.kind;  // named twice: the firmer kind counts
    if (standing.published && fresh && !standing.edges.contains(b.txn)) mention(b.txn);
  }
  bool same = edges.size() == standing.edges.size() && need == standing.wait.need;
  for (auto& [txn, edge] : edges) {
    const auto before = standing.edges.find(txn);
    const bool kept = before != standing.edges.end() && before->second.kind == edge.kind;
    if (kept) edge.since = before->second.since;
    same = same && kept;
  }
  if (!same) standing.set_since = next_number();
  standing.wait.need = need;
  auto gone = std::exchange(standing.edges, std::move(edges));
  if (!standing.published) return;
  for (const auto& [txn, edge] : gone) {
    if (!standing.edges.contains(txn)) unmention(txn);
  }
}

tl::expected<void, AgentError> AgentCore::set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers,
                                                       std::optional<std::uint32_t> need) {
  const auto it = waits_.find(number_of(wait));
  if (it == waits_.end())
    return tl::unexpected(
        AgentError{AgentError::Code::unknown_wait, "wait " + std::to_string(number_of(wait)) + " is over"});
  if (blockers.size() > options_.limits.blockers_per_wait)
    return over_limit(
        "wait of " + it->second.wait.waiter.str() + " with " + std::to_string(blockers.size()) + " blockers",
        options_.limits.blockers_per_wait, "raise AgentLimits::blockers_per_wait");
  const auto needed = need.value_or(std::min(it->second.wait.need, static_cast<std::uint32_t>(blockers.size())));
  if (auto fits = check_need(it->second.wait, blockers, needed); !fits) return fits;
  assign_blockers(it->second, blockers, needed);
  mark_dirty(it->first, it->second);
  return {};
}

tl::expected<void, AgentError> AgentCore::renew_blocker(WaitHandle wait, const TxnId& blocker) {
  const auto it = waits_.find(number_of(wait));
  if (it == waits_.end())
    return tl::unexpected(
        AgentError{AgentError::Code::unknown_wait, "wait " + std::to_string(number_of(wait)) + " is over"});
  if (const auto edge = it->second.edges.find(blocker); edge != it->second.edges.end()) {
    edge->second.since = it->second.set_since = next_number();
    mark_dirty(it->first, it->second);
  }
  return {};
}

void AgentCore::end_wait(WaitHandle wait) {
  if (const auto it = waits_.find(number_of(wait)); it != waits_.end()) erase_wait(it);
}

void AgentCore::erase_wait(Waits::iterator it) {
  auto& [sequence, standing] = *it;
  const auto waiter = standing.wait.waiter;
  if (standing.published) {
    --counters_.published;
    ended_.push_back(sequence);
    for (const auto& [txn, edge] : standing.edges) unmention(txn);
    unmention(waiter);
  } else {
    unpublished_.erase({standing.began_us + options_.publish_after_us, sequence});
  }
  unname_groups(standing);
  txns_[waiter].waits.erase(sequence);
  const auto over = sequence;
  waits_.erase(it);
  drop_if_idle(waiter);
  if (options_.cores != nullptr) options_.cores->ended(over);
}

tl::expected<void, AgentError> AgentCore::describe(const TxnId& txn, TxnInfo info) {
  auto it = txns_.find(txn);
  const bool fresh = it == txns_.end() || !it->second.described;
  if (fresh && described_ >= options_.limits.transactions)
    return over_limit("description of " + txn.str(), options_.limits.transactions,
                      "forget() transactions that ended, or raise AgentLimits::transactions");
  if (info.label.size() > options_.limits.detail_bytes) info.label.resize(options_.limits.detail_bytes);
  auto& entry = txns_[txn];
  if (!fresh && entry.info == info) return {};
  entry.info = std::move(info);
  if (fresh) ++described_;
  entry.described = true;
  if (entry.mentions > 0 && !std::exchange(entry.dirty, true)) dirty_txns_.push_back(txn);
  return {};
}

void AgentCore::forget(const TxnId& txn) {
  const auto it = txns_.find(txn);
  if (it == txns_.end()) return;
  if (it->second.described) --described_;
  it->second.described = false;
  it->second.dirty = false;
  it->second.info = {};
  if (it->second.sent) {
    it->second.sent = false;
    forgotten_.push_back(txn);
  }
  const auto waits = it->second.waits;
  for (const auto sequence : waits) end_wait(WaitHandle{sequence});
  drop_if_idle(txn);
}

/// A published wait names this transaction: the coordinator needs its description.
void AgentCore::mention(const TxnId& txn) {
  auto& entry = txns_[txn];
  ++entry.mentions;
  if (entry.described && !entry.sent && !std::exchange(entry.dirty, true)) dirty_txns_.push_back(txn);
}

void AgentCore::unmention(const TxnId& txn) {
  auto& entry = txns_[txn];
  if (--entry.mentions > 0) return;
  if (std::exchange(entry.sent, false)) forgotten_.push_back(txn);
  drop_if_idle(txn);
}

void AgentCore::drop_if_idle(const TxnId& txn) {
  const auto it = txns_.find(txn);
  if (it != txns_.end() && !it->second.described && it->second.mentions == 0 && it->second.waits.empty())
    txns_.erase(it);
}

void AgentCore::mark_dirty(std::uint64_t sequence, Standing& standing) {
  if (standing.published && !std::exchange(standing.dirty, true)) dirty_waits_.push_back(sequence);
}

void AgentCore::publish_due(std::int64_t now_us) {
  while (!unpublished_.empty() && unpublished_.begin()->first <= now_us) {
    const auto sequence = unpublished_.begin()->second;
    unpublished_.erase(unpublished_.begin());
    auto& standing = waits_.at(sequence);
    standing.published = true;
    ++counters_.published;
    mention(standing.wait.waiter);
    for (auto& [txn, edge] : standing.edges) {
      edge.since = next_number();
      mention(txn);
    }
    standing.set_since = next_number();
    publish_groups(standing);
    mark_dirty(sequence, standing);
  }
}

// --- Messages out ---

wire::Change AgentCore::wait_change(std::uint64_t sequence, const Standing& standing, std::int64_t now_us) const {
  wire::WaitChange change{sequence, standing.wait};
  // What the waiter named of itself was dropped: fewer may be left than it needs.
  change.wait.need = std::min(change.wait.need, static_cast<std::uint32_t>(standing.edges.size()));
  change.wait.age = std::chrono::microseconds(std::max<std::int64_t>(0, now_us - standing.began_us));
  change.wait.blockers.reserve(standing.edges.size());
  for (const auto& [txn, edge] : standing.edges) change.wait.blockers.push_back({txn, edge.kind});
  std::sort(change.wait.blockers.begin(), change.wait.blockers.end());
  return change;
}

bool AgentCore::pending_changes() const {
  return !dirty_waits_.empty() || !ended_.empty() || !dirty_txns_.empty() || !forgotten_.empty() ||
         !dirty_groups_.empty() || !ended_groups_.empty();
}

void Batches::add(wire::Change change) {
  const auto bytes = wire::size_bound(change);
  if (!changes_.empty() && (changes_.size() >= batch_changes || bytes_ + bytes > batch_bytes)) flush(false);
  bytes_ += bytes;
  changes_.push_back(std::move(change));
}

void Batches::flush(bool last) {
  bytes_ = 0;
  close_(std::exchange(changes_, {}), last);
}

void AgentCore::take_snapshot(std::vector<wire::FromAgent>& out, std::int64_t now_us) {
  need_snapshot_ = false;
  dirty_waits_.clear(), ended_.clear(), dirty_txns_.clear(), forgotten_.clear();
  dirty_groups_.clear(), ended_groups_.clear();
  ++number_;
  ++counters_.snapshots_sent;
  std::uint64_t part = 0;
  Batches batches([&](std::vector<wire::Change> changes, bool last) {
    out.emplace_back(wire::Snapshot{options_.incarnation, number_, part++, last, std::move(changes)});
  });
  for (auto& [id, txn] : txns_) {
    txn.dirty = false;
    txn.sent = txn.described && txn.mentions > 0;
    if (txn.sent) batches.add(wire::TxnChange{id, txn.info});
  }
  for (auto& [number, group] : groups_) {
    group.dirty = false;
    if (group.published > 0) add_whole_group(batches, number, group);
  }
  for (auto& [sequence, standing] : waits_) {
    if (!standing.published) continue;
    standing.dirty = false;
    batches.add(wait_change(sequence, standing, now_us));
  }
  batches.finish();
}

void AgentCore::take_deltas(std::vector<wire::FromAgent>& out, std::int64_t now_us) {
  if (!pending_changes()) return;
  Batches batches([&](std::vector<wire::Change> changes, bool) {
    if (changes.empty()) return;
    out.emplace_back(wire::Delta{options_.incarnation, ++number_, std::move(changes)});
    ++counters_.deltas_sent;
  });
  // What is over goes first, then descriptions, groups and waits: a name used again means the new transaction.
  for (const auto sequence : std::exchange(ended_, {})) batches.add(wire::EndWaitChange{sequence});
  add_leaves(batches);
  for (const auto group : std::exchange(ended_groups_, {})) batches.add(wire::EndGroupChange{GroupHandle{group}});
  for (const auto& txn : std::exchange(forgotten_, {})) batches.add(wire::ForgetTxnChange{txn});
  for (const auto& id : std::exchange(dirty_txns_, {})) {
    const auto it = txns_.find(id);
    if (it == txns_.end() || !std::exchange(it->second.dirty, false) || it->second.mentions == 0) continue;
    it->second.sent = true;
    batches.add(wire::TxnChange{id, it->second.info});
  }
  add_groups_and_joins(batches);
  for (const auto sequence : std::exchange(dirty_waits_, {})) {
    const auto it = waits_.find(sequence);
    if (it == waits_.end() || !std::exchange(it->second.dirty, false)) continue;
    batches.add(wait_change(sequence, it->second, now_us));
  }
  batches.finish();
}

std::vector<wire::FromAgent> AgentCore::take_outgoing(std::int64_t now_us) {
  std::vector<wire::FromAgent> out;
  if (online_ && now_us - last_heard_us_ > lease_us_) {
    note(AgentCallbacks::Level::warn, "coordinator silent for " + std::to_string((now_us - last_heard_us_) / 1000) +
                                          " ms: saying hello again until it answers");
    go_offline(now_us, 0);
  }
  publish_due(now_us);
  if (now_us < resend_after_us_) return out;
  if (!online_) {
    if (now_us < next_hello_us_) return out;
    next_hello_us_ = now_us + heartbeat_us_ / 2;
    out.emplace_back(wire::Hello{options_.site, options_.incarnation, options_.instance, epoch_,
                                 options_.resolve_local_deadlocks, options_.engine, options_.label, options_.software});
    return out;
  }
  // Changes before answers: the coordinator shall know why an edge is denied before it hears that it is.
  if (need_snapshot_) {
    take_snapshot(out, now_us);
  } else {
    take_deltas(out, now_us);
  }
  std::move(replies_.begin(), replies_.end(), std::back_inserter(out));
  replies_.clear();
  if (now_us >= next_heartbeat_us_) {
    next_heartbeat_us_ = now_us + heartbeat_us_;
    out.emplace_back(wire::Heartbeat{options_.incarnation, number_});
  }
  return out;
}

bool AgentCore::has_outgoing() const { return online_ && (need_snapshot_ || pending_changes() || !replies_.empty()); }

std::int64_t AgentCore::next_due_us() const {
  auto due = online_ ? std::min(next_heartbeat_us_, last_heard_us_ + lease_us_ + 1) : next_hello_us_;
  if (!unpublished_.empty()) due = std::min(due, unpublished_.begin()->first);
  return std::max(due, resend_after_us_);
}

std::vector<Upcall> AgentCore::take_upcalls() { return std::exchange(upcalls_, {}); }

AgentStatus AgentCore::status() const {
  auto status = counters_;
  status.connected = online_;
  status.epoch = epoch_;
  status.incarnation = options_.incarnation;
  status.waits = waits_.size();
  status.groups = groups_.size();
  return status;
}

void AgentCore::note(AgentCallbacks::Level level, std::string text) {
  upcalls_.emplace_back(Note{level, std::move(text)});
}

}  // namespace gordian::agent
