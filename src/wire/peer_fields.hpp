// The fields of the messages between coordinators, in wire order. For packing.hpp.
#pragma once

#include "wire/fields.hpp"
#include "wire/lock_fields.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::wire {

template <>
inline constexpr std::uint64_t type_code<PeerHello> = 96;
template <>
inline constexpr std::uint64_t type_code<Probe> = 97;
template <>
inline constexpr std::uint64_t type_code<Suspect> = 98;
template <>
inline constexpr std::uint64_t type_code<Poke> = 99;
template <>
inline constexpr std::uint64_t type_code<Gather> = 100;
template <>
inline constexpr std::uint64_t type_code<Gathered> = 101;
template <>
inline constexpr std::uint64_t type_code<Reserve> = 102;
template <>
inline constexpr std::uint64_t type_code<Reserved> = 103;
template <>
inline constexpr std::uint64_t type_code<FreeBranches> = 104;
template <>
inline constexpr std::uint64_t type_code<BranchesFree> = 105;
template <>
inline constexpr std::uint64_t type_code<Release> = 106;

/// Before the fields of each message.
void envelope_fields(Of<FromPeer> auto& m, auto&& f) {
  f("member", m.member), f("instance", m.instance), f("map_version", m.map_version);
}

void fields(Of<PeerHello> auto& m, auto&& f) { f("complete", m.complete), f("open", m.open); }
void fields(Of<Probe> auto& m, auto&& f) {
  f("round", m.round), f("filtered", m.filtered), f("target", m.target), f("path", m.path);
}
void fields(Of<Suspect> auto& m, auto&& f) { f("cycle", m.cycle); }
void fields(Of<Poke> auto& m, auto&& f) { f("txn", m.txn); }
void fields(Of<Gather> auto& m, auto&& f) { f("gather", m.gather), f("txns", m.txns); }
void fields(Of<Gathered> auto& m, auto&& f) {
  f("gather", m.gather), f("complete", m.complete), f("edges", m.edges), f("described", m.described);
}
void fields(Of<Reserve> auto& m, auto&& f) { f("number", m.number), f("txns", m.txns); }
void fields(Of<Reserved> auto& m, auto&& f) {
  f("number", m.number), f("granted", m.granted), f("described", m.described), f("details", m.details);
}
void fields(Of<FreeBranches> auto& m, auto&& f) {
  f("number", m.number), f("victim", m.victim), f("incident", m.incident), f("reason", m.reason), f("done", m.done);
}
void fields(Of<BranchesFree> auto& m, auto&& f) { f("number", m.number), f("victim", m.victim); }
void fields(Of<Release> auto& m, auto&& f) { f("number", m.number); }

void fields(Of<GlobalEdge> auto& t, auto&& f) {
  f("waiter", t.waiter), f("blocker", t.blocker), f("site", t.site), f("incarnation", t.incarnation);
  f("sequence", t.sequence), f("since", t.since), f("kind", t.kind), f("need", t.need), f("alone", t.alone);
  f("age_us", t.age_us);
}
void fields(Of<Described> auto& t, auto&& f) {
  f("txn", t.txn), f("site", t.site), f("start", t.info.start), f("priority", t.info.priority);
  f("locks", t.info.locks), f("work", t.info.work), f("restarts", t.info.restarts), f("class", t.info.victim_class);
  f("label", t.info.label);
}
void fields(Of<WaitDetail> auto& t, auto&& f) {
  f("site", t.site), f("sequence", t.sequence), f("resource", t.resource), f("mode", t.mode), f("detail", t.detail);
  f("age_us", t.age_us);
}
void fields(Of<Member> auto& t, auto&& f) { f("name", t.name), f("endpoint", t.endpoint); }

template <>
inline constexpr std::size_t list_max<GlobalEdge> = PeerLimits{}.gathered_edges;
template <>
inline constexpr std::size_t list_max<Described> = PeerLimits{}.gathered_edges;
template <>
inline constexpr std::size_t list_max<WaitDetail> = PeerLimits{}.gathered_edges;
template <>
inline constexpr std::size_t list_max<Member> = MemberMap::members_max;

/// What a list is filled with before it is read.
template <class T>
T unread() {
  return {};
}
template <>
inline GlobalEdge unread() {
  return {TxnId("-"), TxnId("-"), SiteId("-"), 0, 0, 0};
}
template <>
inline Described unread() {
  return {TxnId("-"), SiteId("-"), {}};
}
template <>
inline WaitDetail unread() {
  return {SiteId("-"), 0, {}, {}, {}, 0};
}

}  // namespace gordian::wire
