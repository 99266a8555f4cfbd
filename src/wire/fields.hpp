// The fields of every message, in wire order: the one description from which codec.cpp both writes and reads.
// For packing.hpp.
#pragma once

#include "wire/messages.hpp"

namespace gordian::wire {

/// The type code on the wire. Never used again for anything else.
template <class M>
inline constexpr std::uint64_t type_code = 0;
template <>
inline constexpr std::uint64_t type_code<Hello> = 1;
template <>
inline constexpr std::uint64_t type_code<Heartbeat> = 2;
template <>
inline constexpr std::uint64_t type_code<Delta> = 3;
template <>
inline constexpr std::uint64_t type_code<Snapshot> = 4;
template <>
inline constexpr std::uint64_t type_code<Confirmed> = 5;
template <>
inline constexpr std::uint64_t type_code<Aborted> = 6;
template <>
inline constexpr std::uint64_t type_code<Goodbye> = 7;
template <>
inline constexpr std::uint64_t type_code<Welcome> = 17;
template <>
inline constexpr std::uint64_t type_code<HeartbeatAck> = 18;
template <>
inline constexpr std::uint64_t type_code<Resync> = 19;
template <>
inline constexpr std::uint64_t type_code<Confirm> = 20;
template <>
inline constexpr std::uint64_t type_code<Abort> = 21;
template <>
inline constexpr std::uint64_t type_code<Error> = 22;
template <>
inline constexpr std::uint64_t type_code<Reorder> = 23;
template <>
inline constexpr std::uint64_t type_code<Query> = 32;
template <>
inline constexpr std::uint64_t type_code<Answer> = 33;

/// The code of a change, first element of its array.
template <class C>
inline constexpr std::uint64_t change_code = 0;
template <>
inline constexpr std::uint64_t change_code<WaitChange> = 0;
template <>
inline constexpr std::uint64_t change_code<EndWaitChange> = 1;
template <>
inline constexpr std::uint64_t change_code<TxnChange> = 2;
template <>
inline constexpr std::uint64_t change_code<ForgetTxnChange> = 3;
template <>
inline constexpr std::uint64_t change_code<GroupChange> = 4;
template <>
inline constexpr std::uint64_t change_code<JoinChange> = 5;
template <>
inline constexpr std::uint64_t change_code<LeaveChange> = 6;
template <>
inline constexpr std::uint64_t change_code<EndGroupChange> = 7;

// fields(message, f) calls f(name, member) for each member. `M` is the message type, const or not.

template <class M, class F>
concept Of = std::is_same_v<std::remove_const_t<M>, F>;

void fields(Of<Hello> auto& m, auto&& f) {
  f("site", m.site), f("incarnation", m.incarnation), f("instance", m.instance), f("epoch_seen", m.epoch_seen);
  f("resolve_local_deadlocks", m.resolve_local_deadlocks), f("engine", m.engine), f("label", m.label);
  f("software", m.software);
}
void fields(Of<Heartbeat> auto& m, auto&& f) { f("incarnation", m.incarnation), f("number", m.number); }
void fields(Of<Delta> auto& m, auto&& f) {
  f("incarnation", m.incarnation), f("number", m.number), f("changes", m.changes);
}
void fields(Of<Snapshot> auto& m, auto&& f) {
  f("incarnation", m.incarnation), f("number", m.number), f("part", m.part), f("last", m.last);
  f("changes", m.changes);
}
void fields(Of<Confirmed> auto& m, auto&& f) { f("confirm", m.confirm), f("denied", m.denied); }
void fields(Of<EdgeRef> auto& m, auto&& f) { f("sequence", m.sequence), f("blocker", m.blocker); }
void fields(Of<Aborted> auto& m, auto&& f) { f("order", m.order), f("outcome", m.outcome), f("text", m.text); }
void fields(Of<Goodbye> auto& m, auto&& f) { f("incarnation", m.incarnation); }
void fields(Of<Welcome> auto& m, auto&& f) {
  f("epoch", m.epoch), f("heartbeat_ms", m.heartbeat_ms), f("lease_ms", m.lease_ms);
}
void fields(Of<HeartbeatAck> auto& m, auto&& f) { f("epoch", m.epoch), f("applied", m.applied); }
// Appended for coordinators that share the graph: one alone leaves them out.
void appended_fields(Of<Welcome> auto& m, auto&& f) {
  f("member", m.member), f("map_version", m.map.version), f("members", m.map.members);
}
inline bool has_appended(const Welcome& m) { return !m.map.members.empty(); }
void appended_fields(Of<HeartbeatAck> auto& m, auto&& f) { f("map_version", m.map_version); }
inline bool has_appended(const HeartbeatAck& m) { return m.map_version != 0; }
void appended_fields(Of<Abort> auto& m, auto&& f) { f("blocker", m.blocker), f("since", m.since); }
inline bool has_appended(const Abort& m) { return !m.blocker.empty(); }
void fields(Of<Resync> auto& m, auto&& f) { f("epoch", m.epoch), f("reason", m.reason); }
void fields(Of<Confirm> auto& m, auto&& f) {
  f("epoch", m.epoch), f("incarnation", m.incarnation), f("confirm", m.confirm), f("edges", m.edges);
}
void fields(Of<ConfirmEdge> auto& m, auto&& f) {
  f("sequence", m.sequence), f("blocker", m.blocker), f("since", m.since);
}
void fields(Of<Abort> auto& m, auto&& f) {
  f("epoch", m.epoch), f("incarnation", m.incarnation), f("order", m.order), f("incident", m.incident);
  f("victim", m.victim), f("sequence", m.sequence), f("role", m.role), f("attempt", m.attempt);
  f("grace_ms", m.grace_ms), f("reason", m.reason);
}
void fields(Of<Reorder> auto& m, auto&& f) {
  f("epoch", m.epoch), f("incarnation", m.incarnation), f("order", m.order), f("incident", m.incident);
  f("sequence", m.sequence), f("blocker", m.blocker), f("attempt", m.attempt), f("grace_ms", m.grace_ms);
  f("reason", m.reason);
}
void fields(Of<Error> auto& m, auto&& f) { f("code", m.code), f("text", m.text), f("number", m.number); }
void fields(Of<Query> auto& m, auto&& f) { f("id", m.id), f("what", m.what), f("argument", m.argument); }
void fields(Of<Answer> auto& m, auto&& f) { f("id", m.id), f("ok", m.ok), f("body", m.body); }

void fields(Of<EndWaitChange> auto& c, auto&& f) { f("sequence", c.sequence); }
void fields(Of<TxnChange> auto& c, auto&& f) {
  f("txn", c.txn), f("start", c.info.start), f("priority", c.info.priority), f("locks", c.info.locks);
  f("work", c.info.work), f("restarts", c.info.restarts), f("class", c.info.victim_class), f("label", c.info.label);
}
void fields(Of<ForgetTxnChange> auto& c, auto&& f) { f("txn", c.txn); }
void fields(Of<GroupChange> auto& c, auto&& f) {
  f("group", c.group), f("resource", c.resource), f("mode", c.mode), f("members", c.members);
}
void fields(Of<JoinChange> auto& c, auto&& f) { f("group", c.group), f("txn", c.txn); }
void fields(Of<LeaveChange> auto& c, auto&& f) { f("group", c.group), f("txn", c.txn); }
void fields(Of<EndGroupChange> auto& c, auto&& f) { f("group", c.group); }

/// The blockers of a wait travel as three lists, one per kind: most waits have only hard ones.
struct BlockerLists {
  std::vector<TxnId> hard, soft, dotted;
};
void fields(Of<WaitChange> auto& c, Of<BlockerLists> auto& blockers, Of<std::uint64_t> auto& age_us, auto&& f) {
  f("sequence", c.sequence), f("waiter", c.wait.waiter), f("hard", blockers.hard), f("resource", c.wait.resource);
  f("mode", c.wait.mode), f("detail", c.wait.detail), f("age_us", age_us), f("soft", blockers.soft);
  f("dotted", blockers.dotted);
}

// Appended one by one after the first agents were written: theirs ends before these fields, and so does every change in which
// the rest says nothing beyond the default. `f` says whether to go on.
void appended_fields(Of<WaitChange> auto& c, auto&& f) { f("groups", c.wait.groups) && f("need", c.wait.need); }
void appended_fields(Of<GroupChange> auto& c, auto&& f) { (void)f("kind", c.kind); }
template <class C>
concept HasAppended = std::is_same_v<C, WaitChange> || std::is_same_v<C, GroupChange>;

/// How many of them have to be written.
inline std::size_t appended_count(const WaitChange& c) { return c.wait.need != 0 ? 2 : c.wait.groups.empty() ? 0 : 1; }
inline std::size_t appended_count(const GroupChange& c) { return c.kind != Kind::hard ? 1 : 0; }

// The largest value of each enumeration, for reading.
template <class E>
inline constexpr std::uint64_t enum_max = 0;
template <>
inline constexpr std::uint64_t enum_max<Aborted::Outcome> = 3;
template <>
inline constexpr std::uint64_t enum_max<Abort::Role> = 1;
template <>
inline constexpr std::uint64_t enum_max<Error::Code> = 8;
template <>
inline constexpr std::uint64_t enum_max<TxnInfo::Class> = 1;
template <>
inline constexpr std::uint64_t enum_max<Kind> = 2;
template <>
inline constexpr std::uint64_t enum_max<GroupHandle> = ~std::uint64_t{0};

}  // namespace gordian::wire
