// The fields of the lock service's messages, in wire order, as in fields.hpp. For packing.hpp.
#pragma once

#include "wire/fields.hpp"
#include "wire/lock_messages.hpp"

namespace gordian::wire {

template <>
inline constexpr std::uint64_t type_code<OpenSession> = 64;
template <>
inline constexpr std::uint64_t type_code<Renew> = 65;
template <>
inline constexpr std::uint64_t type_code<CloseSession> = 66;
template <>
inline constexpr std::uint64_t type_code<Requests> = 67;
template <>
inline constexpr std::uint64_t type_code<SessionOpened> = 80;
template <>
inline constexpr std::uint64_t type_code<Renewed> = 81;
template <>
inline constexpr std::uint64_t type_code<SessionEnded> = 82;
template <>
inline constexpr std::uint64_t type_code<Replies> = 83;
template <>
inline constexpr std::uint64_t type_code<TxnAborted> = 84;

/// The code of a request, first element of its array.
template <class R>
inline constexpr std::uint64_t request_code = 0;
template <>
inline constexpr std::uint64_t request_code<LockRequest> = 0;
template <>
inline constexpr std::uint64_t request_code<UnlockRequest> = 1;
template <>
inline constexpr std::uint64_t request_code<DowngradeRequest> = 2;
template <>
inline constexpr std::uint64_t request_code<EndRequest> = 3;
template <>
inline constexpr std::uint64_t request_code<CancelRequest> = 4;
template <>
inline constexpr std::uint64_t request_code<BeginRequest> = 5;
template <>
inline constexpr std::uint64_t request_code<ReclaimRequest> = 6;

void fields(Of<OpenSession> auto& m, auto&& f) {
  f("session", m.session), f("ttl_ms", m.ttl_ms), f("lock_delay_ms", m.lock_delay_ms), f("label", m.label);
}
void fields(Of<Renew> auto& m, auto&& f) { f("stamp", m.stamp), f("sessions", m.sessions); }
void fields(Of<CloseSession> auto& m, auto&& f) { f("session", m.session); }
void fields(Of<Requests> auto& m, auto&& f) { f("requests", m.requests); }
void fields(Of<SessionOpened> auto& m, auto&& f) {
  f("session", m.session), f("incarnation", m.incarnation), f("ttl_ms", m.ttl_ms), f("grace_ms", m.grace_ms);
}
void fields(Of<Renewed> auto& m, auto&& f) {
  f("stamp", m.stamp), f("incarnation", m.incarnation), f("unknown", m.unknown);
}
void fields(Of<SessionEnded> auto& m, auto&& f) { f("session", m.session), f("why", m.why), f("text", m.text); }
void fields(Of<Replies> auto& m, auto&& f) { f("replies", m.replies); }
void fields(Of<TxnAborted> auto& m, auto&& f) {
  f("session", m.session), f("txn", m.txn), f("status", m.status), f("text", m.text), f("incident", m.incident);
}
void appended_fields(Of<TxnAborted> auto& m, auto&& f) { f("request", m.request); }
inline bool has_appended(const TxnAborted& m) { return m.request != 0; }

void id_fields(Of<RequestId> auto& id, auto&& f) {
  f("session", id.session), f("request", id.request), f("done_below", id.done_below);
}
void fields(Of<LockRequest> auto& r, auto&& f) {
  id_fields(r.id, f), f("txn", r.txn), f("start", r.start), f("wait_us", r.wait_us), f("scheme", r.scheme);
  f("need", r.need), f("items", r.items);
}
void fields(Of<UnlockRequest> auto& r, auto&& f) {
  id_fields(r.id, f), f("txn", r.txn), f("name", r.name), f("epoch", r.fence.epoch), f("counter", r.fence.counter);
  f("path", r.path);
}
void fields(Of<DowngradeRequest> auto& r, auto&& f) {
  id_fields(r.id, f), f("txn", r.txn), f("name", r.name), f("mode", r.mode);
}
void fields(Of<EndRequest> auto& r, auto&& f) { id_fields(r.id, f), f("txn", r.txn); }
void fields(Of<CancelRequest> auto& r, auto&& f) { id_fields(r.id, f), f("target", r.target); }
void fields(Of<BeginRequest> auto& r, auto&& f) {
  id_fields(r.id, f), f("txn", r.txn), f("start", r.start), f("priority", r.priority), f("restarts", r.restarts);
  f("strategy", r.strategy), f("label", r.label);
}
void fields(Of<ReclaimRequest> auto& r, auto&& f) {
  id_fields(r.id, f), f("txn", r.txn), f("start", r.start), f("holds", r.holds);
}

// Tuples: arrays inside messages.
void fields(Of<WantedLock> auto& t, auto&& f) { f("name", t.name), f("mode", t.mode); }
void fields(Of<HeldLock> auto& t, auto&& f) {
  f("name", t.name), f("mode", t.mode), f("count", t.count), f("epoch", t.fence.epoch), f("counter", t.fence.counter);
}
void fields(Of<GrantValue> auto& t, auto&& f) {
  f("item", t.item), f("epoch", t.fence.epoch), f("counter", t.fence.counter);
}
void fields(Of<LockReply> auto& t, auto&& f) {
  f("session", t.session), f("request", t.request), f("status", t.status), f("grants", t.grants), f("text", t.text);
  f("incident", t.incident);
}

/// An array inside a message whose elements are its fields; `list_max` bounds how many a list may have.
template <class T>
inline constexpr std::size_t list_max = 0;
template <>
inline constexpr std::size_t list_max<WantedLock> = LockWireLimits{}.items_per_request;
template <>
inline constexpr std::size_t list_max<HeldLock> = LockWireLimits{}.holds_per_reclaim;
template <>
inline constexpr std::size_t list_max<GrantValue> = LockWireLimits{}.items_per_request;
template <>
inline constexpr std::size_t list_max<LockReply> = LockWireLimits{}.requests_per_message;
template <class T>
concept Tuple = list_max<T>
!= 0;

template <>
inline constexpr std::uint64_t enum_max<LockRequest::Scheme> = 2;
template <>
inline constexpr std::uint64_t enum_max<SessionEnded::Why> = 3;
template <>
inline constexpr std::uint64_t enum_max<LockStatus> = 12;

}  // namespace gordian::wire
