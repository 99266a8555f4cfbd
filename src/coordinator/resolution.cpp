// Candidates and their confirmation. Orders and incidents are in orders.cpp.
#include "coordinator/resolution.hpp"

#include <algorithm>
#include <utility>

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

}  // namespace

Resolution::Resolution(const Options& options, const std::uint64_t& epoch, const graph::WaitForGraph& graph,
                       const Sites& sites, Peers& peers, Outbox& out, Time now)
    : options_(options),
      epoch_(epoch),
      graph_(graph),
      sites_(sites),
      out_(out),
      peers_(peers),
      detector_(graph, options.limits.candidate_edges),
      gathering_(options, graph, sites, peers, out),
      granting_from_us_(peers.alone() ? now.steady_us : now.steady_us + us(options.confirm_timeout)),
      last_confirm_(first_number(options.instance)),
      next_pass_us_(now.steady_us + us(options.full_pass_interval)) {}

std::optional<detect::Candidate> Resolution::search(const Touched& touched) {
  if (const auto* begun = std::get_if<Begun>(&touched)) {
    const auto wait = graph_.find_wait(begun->wait, begun->at);
    if (!wait) return std::nullopt;
    ++searches_;
    return detector_.search(*wait);
  }
  const auto& joined = std::get<Joined>(touched);
  const auto group = graph_.find_group(joined.group);
  const auto member = graph_.find_txn(joined.txn);
  if (!group || !member || !graph_.is_member(*group, *member)) return std::nullopt;
  ++searches_;
  return detector_.search(*group, *member);
}

void Resolution::consider(const std::vector<Touched>& touched, Time now) {
  constexpr std::size_t on_the_way = 16;
  for (std::size_t i = 0; i < touched.size(); ++i) {
    if (i + on_the_way < touched.size())
      if (const auto* begun = std::get_if<Begun>(&touched[i + on_the_way])) graph_.fetch_wait(begun->at);
    const auto& place = touched[i];
    auto candidate = search(place);
    if (!candidate) continue;
    const auto members = candidate->members();
    if (std::ranges::any_of(members, [&](const TxnId& txn) { return busy(txn); })) {
      deferred_.insert(place);
    } else {
      propose_or_collect(std::move(*candidate), now);
    }
  }
  if (searches_ > 0) out_.count("searches", std::exchange(searches_, 0));  // a name is looked up once for many
  gathering_.follow(touched, now);
  judge_all(now);
}

bool Resolution::busy(const TxnId& txn) const {
  return busy_.contains(txn) || condemned_.contains(txn) || reservations_.contains(txn);
}

/// A safety net: whatever a search from a single wait may have missed, or was put off for want of room.
void Resolution::full_pass(Time now) {
  // The pass costs time in proportion to the graph: a large one is passed over less often.
  constexpr std::int64_t waits_per_interval = 50'000;
  const auto stretch = 1 + static_cast<std::int64_t>(graph_.wait_count()) / waits_per_interval;
  next_pass_us_ = now.steady_us + us(options_.full_pass_interval) * stretch;
  std::erase_if(unabortable_, [&](const auto& entry) { return entry.second <= now.steady_us; });
  std::erase_if(unmovable_, [&](const auto& entry) { return entry.second <= now.steady_us; });
  if (graph_.wait_count() == 0) return;
  out_.count("full_passes");
  refusals_.clear();
  const auto known = std::exchange(left_alone_, {});
  for (auto& candidate : detector_.full_pass()) {
    if (const auto key = digest(candidate); known.contains(key)) left_alone_.insert(key);
    const auto members = candidate.members();
    if (std::ranges::none_of(members, [&](const TxnId& txn) { return busy(txn); }))
      propose_or_collect(std::move(candidate), now);
  }
  judge_all(now);
}

Resolution::EdgeKey Resolution::digest(const detect::Candidate& candidate) {
  EdgeKey h = 0;
  for (const auto& e : candidate.edges) {
    for (const std::uint64_t part : {std::uint64_t{e.site}, e.sequence, std::uint64_t{std::hash<TxnId>{}(e.blocker)}})
      h = (h ^ part) * 0x9e3779b97f4a7c15ULL + (h >> 29);
  }
  return h;
}

/// Deadlocks that are reported once and not touched: see the three reasons.
bool Resolution::left_alone(const detect::Candidate& candidate) {
  const auto& edges = candidate.edges;
  const char* reason = nullptr;
  const bool one_site =
      std::all_of(edges.begin(), edges.end(), [&](const auto& e) { return e.site == edges.front().site; });
  if (one_site && !sites_.at(edges.front().site).resolve_local_deadlocks) {
    reason = "local_deadlocks_left";
  } else if (edges.size() > options_.limits.candidate_edges) {
    reason = "limit_candidate_edges";
  } else {
    const auto members = candidate.members();
    const bool all_never = std::all_of(members.begin(), members.end(), [&](const TxnId& txn) {
      return info(txn).victim_class == TxnInfo::Class::never;
    });
    return all_never && left_alone_.contains(digest(candidate));
  }
  if (!left_alone_.insert(digest(candidate)).second) return true;
  out_.count(reason);
  out_.note(Note::Level::info, std::string(reason) + ": a deadlock with " + std::to_string(edges.size()) + " edges, " +
                                   edges.front().waiter.str() + " among its members");
  return true;
}

/// A candidate of our own transactions is whole if they wait for nobody outside of it; else others may have more of it.
void Resolution::propose_or_collect(detect::Candidate candidate, Time now) {
  const auto number_of = [this](const detect::CandidateEdge& e) {
    return sites_.edge_number({e.site, e.sequence}, e.blocker);
  };
  if (peers_.alone()) return propose(std::move(candidate), number_of, {}, now);
  const auto members = candidate.members();
  const auto outside = [&](const wire::GlobalEdge& edge) { return !std::ranges::binary_search(members, edge.blocker); };
  if (std::ranges::any_of(gathering_.edges_of(members), outside)) return gathering_.collect(members, now);
  propose(std::move(candidate), number_of, {}, now);
}

void Resolution::judge_all(Time now) {
  for (auto evidence = gathering_.take_evidence(); !evidence.empty(); evidence = gathering_.take_evidence())
    for (const auto& one : evidence) judge(one, now);
}

/// The gathered edges are a graph of their own, in which the detector says what is deadlocked.
void Resolution::judge(const Evidence& evidence, Time now) {
  struct Known {
    std::vector<Blocker> blockers;
    const wire::GlobalEdge* edge;
  };
  std::map<graph::WaitRef, Known> waits;
  std::map<std::pair<graph::WaitRef, TxnId>, std::uint64_t> since;
  for (const auto& edge : evidence.edges) {
    const auto slot = sites_.live_slot(edge.site, edge.incarnation);
    if (!slot) {
      out_.count("edges_of_unreachable_sites");
      continue;
    }
    const graph::WaitRef ref{*slot, edge.sequence};
    auto& known = waits.try_emplace(ref, Known{{}, &edge}).first->second;
    if (known.edge->waiter != edge.waiter) continue;  // a sequence told by two: the later is asked about anew
    known.blockers.push_back({edge.blocker, edge.kind});
    auto& number = since[{ref, edge.blocker}];
    number = std::max(number, edge.since);
  }
  std::vector<std::pair<graph::WaitRef, const Known*>> by_age;  // the last is the request that came last
  for (const auto& [ref, wait] : waits) by_age.emplace_back(ref, &wait);
  std::ranges::stable_sort(by_age, std::ranges::greater{}, [](const auto& one) { return one.second->edge->age_us; });
  graph::WaitForGraph gathered;
  for (const auto& [ref, wait] : by_age) {
    const auto need = wait->edge->need == 0 ? graph::need_all : static_cast<std::uint32_t>(wait->edge->need);
    if (!gathered.begin_wait(ref, wait->edge->waiter, wait->blockers, {}, need)) return out_.count("limit_gathered");
  }
  for (auto& candidate : detect::Detector(gathered, options_.limits.candidate_edges).full_pass()) {
    const auto members = candidate.members();
    if (std::ranges::any_of(members, [&](const TxnId& txn) { return busy(txn); })) continue;
    propose(
        std::move(candidate),
        [&](const detect::CandidateEdge& e) {
          return since.at({graph::WaitRef{e.site, e.sequence}, e.blocker});
        },
        evidence.described, now);
  }
}

void Resolution::propose(detect::Candidate candidate, const SinceOf& since, std::vector<wire::Described> described,
                         Time now) {
  if (now.steady_us < granting_from_us_) return out_.count("candidates_before_granting");
  if (left_alone(candidate)) return;
  if (pending_.size() >= options_.limits.confirms_in_flight) return out_.count("limit_confirms_in_flight");
  ask(std::move(candidate), since, std::move(described), now);
}

void Resolution::ask(detect::Candidate candidate, const SinceOf& since, std::vector<wire::Described> described,
                     Time now) {
  const auto number = ++last_confirm_;
  std::map<graph::SiteSlot, std::vector<wire::ConfirmEdge>> questions;
  std::map<graph::WaitRef, std::uint64_t> asked_since;
  for (const auto& e : candidate.edges) {
    const auto number_asked = since(e);
    questions[e.site].push_back({e.sequence, e.blocker, number_asked});
    auto& of_wait = asked_since[{e.site, e.sequence}];
    of_wait = std::max(of_wait, number_asked);
  }
  Pending pending{std::move(candidate),
                  now,
                  now.steady_us + us(options_.confirm_timeout),
                  {},
                  {},
                  std::move(questions),
                  0,
                  std::move(described),
                  {},
                  std::move(asked_since)};
#ifdef GORDIAN_MUTATION_CONFIRMATION  // compiled by tests/sim only: a candidate is believed at once
  return open_case(number, std::move(pending), now);
#endif
  for (const auto& [slot, edges] : pending.questions) pending.unanswered.insert(slot);
  const auto members = pending.candidate.members();
  for (const auto& txn : members) busy_.insert(txn);
  if (!peers_.alone()) pending.unreserved = reserve(number, members);
  out_.count("candidates");
  pending_.emplace(number, std::move(pending));
  ask_agents(number, now);
}

/// Once everything is reserved: else a whole other case about the same transactions could pass between an agent's answer and
/// a reservation, and leave a victim too many.
void Resolution::ask_agents(std::uint64_t number, Time now) {
  auto& pending = pending_.at(number);
  if (!pending.unreserved.empty()) return;
  pending.deadline_us = now.steady_us + us(options_.confirm_timeout);
  ++pending.asked;
  for (const auto slot : pending.unanswered) {
    const auto& site = sites_.at(slot);
    out_.send(site.peer, wire::Confirm{epoch_, site.incarnation, number, pending.questions.at(slot)});
  }
}

/// Under the same number: a late answer to an earlier question is as good, for it too was given after T0. But not where others
/// have reserved some of the transactions, for they may forget that at a restart; nor while a candidate waits for them
/// that can be confirmed without the silent agents.
bool Resolution::may_ask_again(const Pending& pending) {
  const auto members = pending.candidate.members();
  if (pending.asked == 0 || pending.asked >= options_.confirm_attempts || !stands(pending)) return false;
  if (!peers_.alone() && !std::ranges::all_of(members, [&](const TxnId& txn) { return peers_.owned(txn); }))
    return false;
  const auto silent = [&](const detect::CandidateEdge& e) { return pending.unanswered.contains(e.site); };
  const auto shared = [&](const TxnId& txn) { return std::ranges::binary_search(members, txn); };
  return std::ranges::none_of(deferred_, [&](const Touched& place) {
    const auto other = search(place);
    return other && std::ranges::any_of(other->members(), shared) && std::ranges::none_of(other->edges, silent);
  });
}

/// The transactions are free for other cases; those of others once they are released there.
void Resolution::release(std::uint64_t number, Pending& pending) {
  for (const auto& txn : pending.candidate.members()) busy_.erase(txn);
  if (!peers_.alone()) peers_.send_to_others(wire::Release{number});
}

void Resolution::reconsider(const std::vector<Touched>& also, Time now) {
  auto again = std::exchange(deferred_, {});
  again.insert(also.begin(), also.end());  // once each, however many edges of a candidate a wait has
  consider({again.begin(), again.end()}, now);
}

/// Is the edge in the graph as it was asked about? A wait for some of several must not have been reported anew: another
/// blocker is another way out.
bool Resolution::stands(const detect::CandidateEdge& edge, const Pending& pending) const {
  if (!peers_.alone() && !peers_.owned(edge.waiter)) return true;  // for its owner's agent to know
  const auto wait = graph_.find_wait({edge.site, edge.sequence});
  const auto blocker = graph_.find_txn(edge.blocker);
  if (!wait || !blocker) return false;
  const graph::WaitRef ref{edge.site, edge.sequence};
  if (graph_.need(*wait) != graph::need_all && sites_.find(ref)->number > pending.asked_since.at(ref)) return false;
  const auto edges = graph_.edges(*wait);
  return std::any_of(edges.begin(), edges.end(), [&](graph::EdgeSlot e) {
    const auto to = graph_.target(e);
    return graph_.kind(e) == edge.kind && (to == *blocker || (graph_.is_group(to) && graph_.is_member(to, *blocker)));
  });
}

bool Resolution::stands(const Pending& pending) const {
  return std::ranges::all_of(pending.candidate.edges, [&](const auto& e) { return stands(e, pending); });
}

void Resolution::confirmed(const Site& site, const wire::Confirmed& reply, Time now) {
  const auto it = pending_.find(reply.confirm);
  if (it == pending_.end() || it->second.unanswered.erase(site.slot) == 0) return out_.count("stale_messages");
  if (reply.denied.empty()) return proceed(reply.confirm, now);
  auto denied = std::move(pending_.extract(it).mapped());
  release(reply.confirm, denied);
  // What was denied is on its way as a change; what remains may be a deadlock without it.
  out_.count("candidates_denied");
  reconsider(stands(denied) ? std::vector<Touched>{} : touched_by(denied.candidate), now);
}

std::vector<Touched> Resolution::touched_by(const detect::Candidate& candidate) {
  std::vector<Touched> waits;
  for (const auto& e : candidate.edges) waits.emplace_back(Begun{{e.site, e.sequence}});
  return waits;
}

/// One 'no' is enough, every 'yes' is needed.
void Resolution::proceed(std::uint64_t number, Time now) {
  const auto it = pending_.find(number);
  if (!it->second.unanswered.empty() || !it->second.unreserved.empty()) return;
  auto settled = std::move(pending_.extract(it).mapped());
  if (!stands(settled)) {
    release(number, settled);
    out_.count("candidates_dissolved");
    return reconsider(touched_by(settled.candidate), now);
  }
  for (const auto& txn : settled.candidate.members()) busy_.erase(txn);  // its victims are condemned now
  open_case(number, settled, now);
  reconsider({}, now);
}

void Resolution::site_lost(graph::SiteSlot slot, Time now) {
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (it->second.questions.contains(slot)) {  // what it has confirmed already was true of the life that ended
      out_.count("candidates_dissolved");
      release(it->first, it->second);
      it = pending_.erase(it);
    } else {
      ++it;
    }
  }
  std::vector<Order> lost;
  std::erase_if(orders_, [&](const auto& entry) {
    if (entry.second.wait.site != slot) return false;
    lost.push_back(entry.second);
    return true;
  });
  for (const auto& order : lost) retry_or_give_up(order, "its agent is gone", false, now);
  drop_reorders(slot, now);
  reconsider({}, now);
}

/// Nobody is left behind a question without an answer: it is asked again, or the candidate is dropped.
void Resolution::repeat_late_questions(Time now) {
  bool dropped = false;
  for (auto it = pending_.begin(); it != pending_.end();) {
    auto& [number, pending] = *it;
    if (pending.deadline_us > now.steady_us) {
      ++it;
      continue;
    }
    out_.count("confirms_timed_out");
    for (const auto slot : pending.unanswered)
      out_.note(Note::Level::warn, "site " + sites_.at(slot).id.str() + " did not answer a confirmation in time");
    for (const auto member : pending.unreserved)
      out_.note(Note::Level::warn, "coordinator " + peers_.name(member) + " did not answer a reservation in time");
    if (may_ask_again(pending)) {
      ask_agents(number, now);
      ++it;
      continue;
    }
    release(number, pending);
    it = pending_.erase(it);
    dropped = true;
  }
  if (dropped) reconsider({}, now);
}

void Resolution::tick(Time now) {
  repeat_late_questions(now);
  std::vector<Order> late;
  std::erase_if(orders_, [&](const auto& entry) {
    if (entry.second.deadline_us > now.steady_us) return false;
    late.push_back(entry.second);
    return true;
  });
  for (const auto& order : late) retry_or_give_up(order, "no answer in time", true, now);
  repeat_late_reorders(now);
  tick_shared(now);
  if (now.steady_us >= next_pass_us_) full_pass(now);
}

std::int64_t Resolution::next_tick_us() const {
  auto next = next_pass_us_;
  for (const auto& [number, pending] : pending_) next = std::min(next, pending.deadline_us);
  for (const auto& [number, order] : orders_) next = std::min(next, order.deadline_us);
  if (peers_.alone()) return next;
  for (const auto& [number, one] : cases_)
    if (!one.asked.empty()) next = std::min(next, one.asked_until_us);
  return std::min({next, gathering_.next_tick_us(), reservations_.next_tick_us()});
}

}  // namespace gordian::coordinator
