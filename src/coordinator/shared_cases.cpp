// Cases that touch other coordinators' transactions: reservations asked for and granted, and the branches of a victim where only
// another coordinator knows the waits behind them.
#include <algorithm>
#include <utility>

#include "coordinator/resolution.hpp"

namespace gordian::coordinator {
namespace {

std::int64_t us(std::chrono::milliseconds ms) { return std::chrono::microseconds(ms).count(); }

}  // namespace

void Resolution::receive(std::size_t from, const wire::PeerMessage& message, Time now) {
  std::visit([&](const auto& m) { on(from, m, now); }, message);
  judge_all(now);
}

// --- The leader's side ---

/// Everyone is told, for everyone may know waits behind a victim; only the owners must agree.
std::set<std::size_t> Resolution::reserve(std::uint64_t number, const std::vector<TxnId>& members) {
  std::set<std::size_t> owners;
  for (const auto& txn : members) owners.insert(peers_.owner(txn));
  owners.erase(peers_.self());
  peers_.send_to_others(wire::Reserve{number, members});
  return owners;
}

void Resolution::on(std::size_t from, const wire::Reserved& m, Time now) {
  const auto it = pending_.find(m.number);
  if (it == pending_.end()) return out_.count("stale_messages");
  auto& pending = it->second;
  pending.described.insert(pending.described.end(), m.described.begin(), m.described.end());
  pending.informed.insert(from);
  if (pending.unreserved.erase(from) == 0) return;
  if (!m.granted) return refused(m.number, now);
  for (const auto& detail : m.details) {
    const auto known = [&](const detect::CandidateEdge& e) {
      return e.sequence == detail.sequence && sites_.at(e.site).id == detail.site;
    };
    const auto edge = std::ranges::find_if(pending.candidate.edges, known);
    if (edge != pending.candidate.edges.end())
      pending.details.insert_or_assign(graph::WaitRef{edge->site, edge->sequence}, detail);
  }
  ask_agents(m.number, now);
}

/// Another case has one of the transactions: this one is tried again after a pause, on what is left then.
void Resolution::refused(std::uint64_t number, Time now) {
  auto refused = std::move(pending_.extract(number).mapped());
  release(number, refused);
  out_.count("cases_refused");
  auto members = refused.candidate.members();
  const auto attempt = ++refusals_[members.front()];
  gathering_.collect_later(std::move(members), attempt, now);
  reconsider({}, now);
}

/// The victim was aborted: its locks must go at sites where only others know who waits for them.
void Resolution::ask_for_branches(std::uint64_t incident, const TxnId& victim, Time now) {
  if (peers_.alone()) return;
  auto& open = cases_.at(incident);
  const auto question = branches_of(open, victim);
  for (std::size_t member = 0; member < peers_.count(); ++member) {
    if (!open.informed.contains(member) || !peers_.alive(member, now)) continue;
    open.asked.emplace(member, victim);
    ++open.victims.at(victim).open_orders;
    peers_.send(member, question);
  }
  open.asked_until_us = now.steady_us + us(options_.abort_grace) * options_.abort_attempts;
}

wire::FreeBranches Resolution::branches_of(const Case& open, const TxnId& victim) const {
  wire::FreeBranches question{open.confirm, victim, open.id, open.reason, {}};
  for (const auto slot : open.victims.at(victim).sites) question.done.push_back(sites_.at(slot).id);
  return question;
}

void Resolution::on(std::size_t from, const wire::BranchesFree& m, Time now) {
  const auto it = std::ranges::find_if(cases_, [&](const auto& entry) {
    return !entry.second.leader && entry.second.confirm == m.number && entry.second.asked.contains({from, m.victim});
  });
  if (it == cases_.end()) return out_.count("stale_messages");
  branches_free(it->first, from, m.victim, now);
}

void Resolution::branches_free(std::uint64_t incident, std::size_t member, const TxnId& victim, Time now) {
  cases_.at(incident).asked.erase({member, victim});
  settle(incident, victim, now);
}

// --- The others' side ---

void Resolution::on(std::size_t from, const wire::Reserve& m, Time now) {
  std::vector<TxnId> owned;
  for (const auto& txn : m.txns)
    if (peers_.owned(txn)) owned.push_back(txn);
  wire::Reserved reply{m.number, now.steady_us >= granting_from_us_, {}, {}};
  const bool known = reservations_.seen({from, m.number}) != nullptr;
  const auto taken = [&](const TxnId& txn) { return busy_.contains(txn) || condemned_.contains(txn); };
  const auto until_us = now.steady_us + us(options_.confirm_timeout) * options_.confirm_attempts +
                        us(options_.abort_grace) * (2 * options_.abort_attempts + 1);  // reorders, then aborts
  reply.granted = reply.granted && std::ranges::none_of(owned, taken) &&
                  reservations_.reserve({from, m.number}, owned, sites_.seen(), now.steady_us, until_us);
  for (const auto& txn : m.txns) sites_.describe(txn, reply.described);
  for (const auto& txn : owned) {
    const auto vertex = graph_.find_txn(txn);
    if (!vertex || !reply.granted) continue;
    for (const auto w : graph_.waits(*vertex)) {
      const auto ref = graph_.ref(w);
      const auto* standing = sites_.find(ref);
      reply.details.push_back(
          {sites_.at(ref.site).id, ref.sequence, standing->resource(), standing->mode(), standing->detail(),
           static_cast<std::uint64_t>(std::max<std::int64_t>(0, now.steady_us - standing->began_us))});
    }
  }
  if (reply.granted) reconsider({}, now);  // of a case that has its victims: others are free
  if (!reply.granted) out_.count("reservations_refused");
  if (!known) peers_.send(from, std::move(reply));  // else it was answered, and this only gives something up
}

/// What is under way may have crossed this message; and what a leader that was started anew has ordered before may still be
/// carried out: a reservation is given up some heartbeats after it was made at the earliest.
void Resolution::on(std::size_t from, const wire::PeerHello& m, Time now) {
  constexpr std::int64_t heartbeats = 3;
  if (!m.complete) return;
  const auto before = reservations_.size();
  reservations_.keep_only(from, m.open, now.steady_us - heartbeats * us(options_.heartbeat));
  if (reservations_.size() != before) reconsider({}, now);
}

void Resolution::say_hello() {
  constexpr std::size_t open_max = 10'000;
  wire::PeerHello hello;
  for (const auto& [number, pending] : pending_) hello.open.push_back(number);
  for (const auto& [number, open] : cases_)
    if (!open.leader) hello.open.push_back(open.confirm);
  std::ranges::sort(hello.open);
  hello.complete = hello.open.size() <= open_max;
  if (!hello.complete) hello.open.clear();
  peers_.send_to_others(hello);
  for (const auto& [number, open] : cases_)
    for (const auto& [member, victim] : open.asked) peers_.send(member, branches_of(open, victim));
}

void Resolution::on(std::size_t from, const wire::Release& m, Time now) {
  reservations_.release({from, m.number});
  reconsider({}, now);
}

void Resolution::on(std::size_t from, const wire::FreeBranches& m, Time now) {
  const Reservations::Key key{from, m.number};
  const auto* seen = reservations_.seen(key);
  const auto same = [&](const auto& entry) {
    return entry.second.leader == key && entry.second.victims.contains(m.victim);
  };
  if (std::ranges::any_of(cases_, same)) return out_.count("stale_messages");
  if (seen == nullptr) return peers_.send(from, wire::BranchesFree{m.number, m.victim});  // it has lasted too long
  const auto number = ++last_foreign_case_;
  Case open{.id = m.incident,
            .reason = m.reason,
            .found = now,
            .waits = {},
            .victims = {},
            .seen = *seen,
            .confirm = m.number,
            .leader = key,
            .asked = {}};
  auto& state = open.victims[m.victim];
  for (const auto& site : m.done)
    if (const auto it = sites_.all().find(site); it != sites_.all().end()) state.sites.insert(it->second.slot);
  cases_.emplace(number, std::move(open));
  order_branches(number, m.victim, now);
  close_if_settled(number, now);
}

void Resolution::tick_shared(Time now) {
  if (peers_.alone()) return;
  if (peers_.hello_due(now)) say_hello();
  gathering_.tick(now);
  judge_all(now);
  reservations_.tick(now.steady_us);
  std::vector<std::pair<std::uint64_t, std::pair<std::size_t, TxnId>>> late;
  for (const auto& [number, open] : cases_) {
    if (open.asked_until_us > now.steady_us) continue;
    for (const auto& asked : open.asked) late.emplace_back(number, asked);
  }
  for (const auto& [number, asked] : late) {
    step(number,
         "coordinator " + peers_.name(asked.first) + " did not say that the branches of " + asked.second.str() +
             " are free",
         now);
    branches_free(number, asked.first, asked.second, now);
  }
}

}  // namespace gordian::coordinator
