// Candidates and their confirmation. Orders and incidents are in orders.cpp.
#include "coordinator/resolution.hpp"

#include <algorithm>
#include <utility>

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

}  // namespace

Resolution::Resolution(const Options& options, const std::uint64_t& epoch, const graph::WaitForGraph& graph,
                       const Sites& sites, Outbox& out, Time now)
    : options_(options),
      epoch_(epoch),
      graph_(graph),
      sites_(sites),
      out_(out),
      detector_(graph, options.limits.candidate_edges),
      next_pass_us_(now.steady_us + us(options.full_pass_interval)) {}

std::optional<detect::Candidate> Resolution::search(const Touched& touched) {
  if (const auto* ref = std::get_if<graph::WaitRef>(&touched)) {
    const auto wait = graph_.find_wait(*ref);
    if (!wait) return std::nullopt;
    out_.count("searches");
    return detector_.search(*wait);
  }
  const auto& joined = std::get<Joined>(touched);
  const auto group = graph_.find_group(joined.group);
  const auto member = graph_.find_txn(joined.txn);
  if (!group || !member || !graph_.is_member(*group, *member)) return std::nullopt;
  out_.count("searches");
  return detector_.search(*group, *member);
}

void Resolution::consider(const std::vector<Touched>& touched, Time now) {
  for (const auto& place : touched) {
    auto candidate = search(place);
    if (!candidate) continue;
    const auto busy = [&](const TxnId& txn) { return busy_.contains(txn) || condemned_.contains(txn); };
    const auto members = candidate->members();
    if (std::any_of(members.begin(), members.end(), busy)) {
      deferred_.insert(place);
    } else {
      propose(std::move(*candidate), now);
    }
  }
}

/// A safety net: whatever a search from a single wait may have missed, or was put off for want of room.
void Resolution::full_pass(Time now) {
  // The pass costs time in proportion to the graph: a large one is passed over less often.
  constexpr std::int64_t waits_per_interval = 50'000;
  const auto stretch = 1 + static_cast<std::int64_t>(graph_.wait_count()) / waits_per_interval;
  next_pass_us_ = now.steady_us + us(options_.full_pass_interval) * stretch;
  std::erase_if(unabortable_, [&](const auto& entry) { return entry.second <= now.steady_us; });
  if (graph_.wait_count() == 0) return;
  out_.count("full_passes");
  const auto known = std::exchange(left_alone_, {});
  for (auto& candidate : detector_.full_pass()) {
    if (const auto key = digest(candidate); known.contains(key)) left_alone_.insert(key);
    const auto busy = [&](const TxnId& txn) { return busy_.contains(txn) || condemned_.contains(txn); };
    const auto members = candidate.members();
    if (std::none_of(members.begin(), members.end(), busy)) propose(std::move(candidate), now);
  }
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

void Resolution::propose(detect::Candidate candidate, Time now) {
  if (left_alone(candidate)) return;
  if (pending_.size() >= options_.limits.confirms_in_flight) return out_.count("limit_confirms_in_flight");
  ask(std::move(candidate), now);
}

void Resolution::ask(detect::Candidate candidate, Time now) {
  const auto number = ++last_confirm_;
  std::map<graph::SiteSlot, std::vector<wire::ConfirmEdge>> questions;
  for (const auto& e : candidate.edges) {
    if (sites_.find({e.site, e.sequence}) == nullptr) return;  // the graph follows the sites: this can't be
    questions[e.site].push_back({e.sequence, e.blocker, sites_.edge_number({e.site, e.sequence}, e.blocker)});
  }
  Pending pending{std::move(candidate), now, now.steady_us + us(options_.confirm_timeout), {}};
#ifdef GORDIAN_MUTATION_CONFIRMATION  // compiled by tests/sim only: a candidate is believed at once
  return open_case(pending, now);
#endif
  for (auto& [slot, edges] : questions) {
    const auto& site = sites_.at(slot);
    pending.unanswered.insert(slot);
    out_.send(site.peer, wire::Confirm{epoch_, site.incarnation, number, std::move(edges)});
  }
  for (const auto& txn : pending.candidate.members()) busy_.insert(txn);
  out_.count("candidates");
  pending_.emplace(number, std::move(pending));
}

void Resolution::release(Pending& pending) {
  for (const auto& txn : pending.candidate.members()) busy_.erase(txn);
}

void Resolution::reconsider(const std::vector<Touched>& also, Time now) {
  auto again = std::exchange(deferred_, {});
  again.insert(also.begin(), also.end());  // once each, however many edges of a candidate a wait has
  consider({again.begin(), again.end()}, now);
}

bool Resolution::stands(const detect::CandidateEdge& edge) const {
  const auto wait = graph_.find_wait({edge.site, edge.sequence});
  return wait && graph_.waits_for(*wait, edge.blocker);
}

void Resolution::confirmed(const Site& site, const wire::Confirmed& reply, Time now) {
  const auto it = pending_.find(reply.confirm);
  if (it == pending_.end() || it->second.unanswered.erase(site.slot) == 0) return out_.count("stale_messages");
  const bool denied = !reply.denied.empty();
  if (!denied && !it->second.unanswered.empty()) return;  // one 'no' is enough, every 'yes' is needed
  auto settled = std::move(pending_.extract(it).mapped());
  release(settled);
  std::vector<Touched> waits;
  for (const auto& e : settled.candidate.edges) waits.emplace_back(graph::WaitRef{e.site, e.sequence});
  const bool still = std::all_of(settled.candidate.edges.begin(), settled.candidate.edges.end(),
                                 [&](const auto& e) { return stands(e); });
  if (denied || !still) {
    // What was denied is on its way as a change; what remains may be a deadlock without it.
    out_.count(denied ? "candidates_denied" : "candidates_dissolved");
    return reconsider(denied && still ? std::vector<Touched>{} : waits, now);
  }
  open_case(settled, now);
  reconsider({}, now);
}

void Resolution::site_lost(graph::SiteSlot slot, Time now) {
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (it->second.unanswered.contains(slot)) {
      out_.count("candidates_dissolved");
      release(it->second);
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
  reconsider({}, now);
}

void Resolution::tick(Time now) {
  bool dropped = false;
  for (auto it = pending_.begin(); it != pending_.end();) {
    if (it->second.deadline_us <= now.steady_us) {
      out_.count("confirms_timed_out");
      for (const auto slot : it->second.unanswered)
        out_.note(Note::Level::warn, "site " + sites_.at(slot).id.str() + " did not answer a confirmation in time");
      release(it->second);
      it = pending_.erase(it);
      dropped = true;
    } else {
      ++it;
    }
  }
  std::vector<Order> late;
  std::erase_if(orders_, [&](const auto& entry) {
    if (entry.second.deadline_us > now.steady_us) return false;
    late.push_back(entry.second);
    return true;
  });
  for (const auto& order : late) retry_or_give_up(order, "no answer in time", true, now);
  if (dropped) reconsider({}, now);
  if (now.steady_us >= next_pass_us_) full_pass(now);
}

std::int64_t Resolution::next_tick_us() const {
  auto next = next_pass_us_;
  for (const auto& [number, pending] : pending_) next = std::min(next, pending.deadline_us);
  for (const auto& [number, order] : orders_) next = std::min(next, order.deadline_us);
  return next;
}

}  // namespace gordian::coordinator
