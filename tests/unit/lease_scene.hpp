// A lock server driven by hand: clients by name, time in milliseconds, replies as they come out.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "lease/lock_server.hpp"

namespace gordian::lease {

using Status = wire::LockStatus;

inline ServerOptions with_epoch(std::uint64_t epoch, Durable found = {}, bool journal = false) {
  ServerOptions options{.site = SiteId("s"), .table = {}, .journal = journal, .found = std::move(found), .txn_ended = {}, .limits = {}};
  options.table.epoch = epoch;
  return options;
}

struct LeaseScene {
  explicit LeaseScene(ServerOptions options = with_epoch(1)) : server(std::move(options), now()) {}

  [[nodiscard]] ServerTime now() const { return {time_ms * 1000, time_ms * 1000}; }

  /// Time passes as the reactor sees it: it wakes when something is due.
  void pass(std::int64_t ms) {
    const std::int64_t until = time_ms + ms;
    while (server.next_tick_us() <= until * 1000) {
      time_ms = std::max(time_ms, (server.next_tick_us() + 999) / 1000);
      server.tick(now());
    }
    time_ms = until;
    (void)server.next_tick_us();
    take();
  }
  /// Time passes, and the server does not see it (it was stopped).
  void stall(std::int64_t ms) {
    (void)server.next_tick_us();
    time_ms += ms;
  }

  void send(const wire::FromLockClient& message, const std::string& peer = "p") {
    server.receive(peer, message, now());
    (void)server.next_tick_us();
    take();
  }
  void open(std::uint64_t session, std::uint64_t ttl_ms = 1000, std::uint64_t lock_delay_ms = 0) {
    send(wire::OpenSession{session, ttl_ms, lock_delay_ms, "client " + std::to_string(session)});
  }
  void renew(std::vector<std::uint64_t> sessions) { send(wire::Renew{1, std::move(sessions)}); }

  wire::RequestId next(std::uint64_t session) { return {session, ++numbers[session], 0}; }
  template <class Request>
  std::optional<wire::LockReply> ask(Request request) {
    const auto id = request.id;
    send(wire::Requests{{request}});
    return reply(id.session, id.request);
  }
  std::optional<wire::LockReply> lock(std::uint64_t session, const char* txn, std::string name, const char* mode = "X",
                                      std::optional<std::uint64_t> wait_ms = {}) {
    std::optional<std::uint64_t> wait_us;
    if (wait_ms) wait_us = *wait_ms * 1000;
    return ask(wire::LockRequest{next(session), TxnId(std::string(txn)), 1.0, wait_us, wire::LockRequest::Scheme::all, 1, {{std::move(name), mode}}});
  }
  std::optional<wire::LockReply> unlock(std::uint64_t session, const char* txn, std::string name, wire::FenceValue fence = {}) {
    return ask(wire::UnlockRequest{next(session), TxnId(txn), std::move(name), fence, false});
  }
  std::optional<wire::LockReply> end(std::uint64_t session, const char* txn) {
    return ask(wire::EndRequest{next(session), TxnId(txn)});
  }

  /// The newest reply to a request.
  [[nodiscard]] std::optional<wire::LockReply> reply(std::uint64_t session, std::uint64_t request) const {
    const auto it = replies.find({session, request});
    return it == replies.end() ? std::nullopt : std::optional(it->second);
  }
  [[nodiscard]] std::optional<wire::LockReply> last_reply(std::uint64_t session) const {
    return reply(session, numbers.at(session));
  }
  /// The newest message of a kind.
  template <class M>
  [[nodiscard]] std::optional<M> last() const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it)
      if (const auto* message = std::get_if<M>(&it->message)) return *message;
    return std::nullopt;
  }

  void take() {
    for (auto& out : server.take_outgoing()) {
      if (const auto* batch = std::get_if<wire::Replies>(&out.message))
        for (const auto& each : batch->replies) replies.insert_or_assign({each.session, each.request}, each);
      sent.push_back(std::move(out));
    }
    for (auto& record : server.take_records()) records.push_back(std::move(record));
  }

  std::int64_t time_ms = 1'000'000;
  LockServer server;
  std::map<std::uint64_t, std::uint64_t> numbers;
  std::map<std::pair<std::uint64_t, std::uint64_t>, wire::LockReply> replies;
  std::vector<Outgoing> sent;
  std::vector<Record> records;
};

/// What a state file would hold after these records.
inline Durable durable_of(const std::vector<Record>& records) {
  Durable found;
  found.clean = false;
  const auto drop = [&](auto condition) { std::erase_if(found.holds, condition); };
  for (const Record& record : records) {
    if (const auto* session = std::get_if<SessionRecord>(&record)) {
      std::erase_if(found.sessions, [&](const auto& s) { return s.session == session->session; });
      found.sessions.push_back(*session);
    } else if (const auto* hold = std::get_if<HoldRecord>(&record)) {
      drop([&](const auto& h) { return h.txn == hold->txn && h.name == hold->name; });
      found.holds.push_back(*hold);
    } else if (const auto* gone = std::get_if<HoldGone>(&record)) {
      drop([&](const auto& h) { return h.txn == gone->txn && h.name == gone->name; });
    } else if (const auto* txn = std::get_if<TxnGone>(&record)) {
      drop([&](const auto& h) { return h.txn == txn->txn; });
    } else if (const auto* over = std::get_if<SessionGone>(&record)) {
      drop([&](const auto& h) { return h.session == over->session; });
      std::erase_if(found.sessions, [&](const auto& s) { return s.session == over->session; });
    } else if (const auto* longest = std::get_if<LongestLease>(&record)) {
      found.longest_ttl_us = longest->ttl_us;
    }
  }
  return found;
}

}  // namespace gordian::lease
