// An agent that speaks with coordinators which a test starts, stops and gives maps; and what each of them has heard of it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent_router.hpp"

namespace gordian::test {

using namespace gordian::agent;

inline constexpr std::int64_t second = 1'000'000;

inline wire::MemberMap map_of(std::uint64_t version, const std::vector<std::string>& names) {
  wire::MemberMap map{version, {}};
  for (const auto& name : names) map.members.push_back({name, "ipc://" + name});
  return map;
}

/// What a coordinator has heard of one site: its waits as the messages say. Knows nothing of deadlocks.
struct Heard {
  std::string endpoint;
  bool up = true;
  wire::MemberMap map;
  std::string member;
  std::uint64_t epoch = 1;
  std::optional<LinkId> link;  ///< the session
  std::uint64_t number = 0;    ///< of the last Delta or Snapshot
  std::map<std::uint64_t, Wait> waits;
  std::map<TxnId, TxnInfo> txns;
  std::map<GroupHandle, std::vector<TxnId>> groups;
  std::vector<wire::Confirmed> answers;
  std::vector<wire::Aborted> aborted;
  int goodbyes = 0;
  std::uint64_t incarnation = 0;

  [[nodiscard]] std::vector<std::string> waiters() const {
    std::vector<std::string> names;
    for (const auto& [sequence, wait] : waits) names.push_back(wait.waiter.str());
    std::sort(names.begin(), names.end());
    return names;
  }
  [[nodiscard]] std::uint64_t sequence_of(const std::string& waiter) const {
    for (const auto& [sequence, wait] : waits)
      if (wait.waiter.str() == waiter) return sequence;
    return 0;
  }

  void take(const wire::Change& change) {
    if (const auto* wait = std::get_if<wire::WaitChange>(&change)) waits.insert_or_assign(wait->sequence, wait->wait);
    if (const auto* over = std::get_if<wire::EndWaitChange>(&change)) waits.erase(over->sequence);
    if (const auto* txn = std::get_if<wire::TxnChange>(&change)) txns[txn->txn] = txn->info;
    if (const auto* txn = std::get_if<wire::ForgetTxnChange>(&change)) txns.erase(txn->txn);
    if (const auto* group = std::get_if<wire::GroupChange>(&change)) groups[group->group] = group->members;
    if (const auto* join = std::get_if<wire::JoinChange>(&change)) groups[join->group].push_back(join->txn);
    if (const auto* leave = std::get_if<wire::LeaveChange>(&change)) std::erase(groups[leave->group], leave->txn);
    if (const auto* over = std::get_if<wire::EndGroupChange>(&change)) groups.erase(over->group);
  }
};

/// A router, and coordinators that a test starts, stops and gives maps.
struct Cluster {
  std::int64_t now_us = second;
  std::map<std::string, Heard> heard;  ///< by endpoint
  std::map<std::uint64_t, std::string> dialled;  ///< link → endpoint
  std::vector<AbortCall> orders;
  std::vector<ConfirmCall> questions;
  std::vector<std::string> notes;
  std::unique_ptr<AgentRouter> router;

  void start(const wire::MemberMap& map) {
    for (const auto& m : map.members) start(m.endpoint, m.name, map);
  }
  Heard& start(const std::string& endpoint, const std::string& member, const wire::MemberMap& map) {
    auto& one = heard[endpoint];
    one.endpoint = endpoint, one.member = member, one.map = map, one.up = true;
    return one;
  }
  Heard& at(const std::string& member) { return heard.at("ipc://" + member); }
  void agent(std::vector<std::string> endpoints, bool engine_confirms = false) {
    router = std::make_unique<AgentRouter>(Options{.site = SiteId("s"),
                                                   .incarnation = 7,
                                                   .instance = "i",
                                                   .engine = {},
                                                   .label = {},
                                                   .software = {},
                                                   .publish_after_us = 0,
                                                   .engine_confirms = engine_confirms,
                                                   .limits = {.waits = 300}},
                                           std::move(endpoints), now_us);
    settle();
  }

  WaitHandle wait(const std::string& waiter, const std::string& blocker, std::vector<GroupHandle> groups = {}) {
    Wait w{TxnId(waiter), {}, "r", "X", ""};
    if (!blocker.empty()) w.blockers.push_back({TxnId(blocker)});
    w.groups = std::move(groups);
    return router->begin_wait(std::move(w), now_us).value();
  }
  void say(const std::string& member, const wire::ToAgent& message) {
    router->receive(at(member).link.value(), message, now_us);
    settle();
  }
  void settle() {
    for (bool any = true; any;) {
      any = false;
      for (const auto& change : router->take_link_changes(now_us)) {
        if (const auto* dial = std::get_if<Dial>(&change)) dialled[static_cast<std::uint64_t>(dial->link)] = dial->endpoint;
        if (const auto* hangup = std::get_if<Hangup>(&change)) {
          if (hangup->farewell) deliver({hangup->link, *hangup->farewell});
          dialled.erase(static_cast<std::uint64_t>(hangup->link));
        }
      }
      for (const auto& message : router->take_outgoing(now_us)) any = true, deliver(message);
      for (auto& call : router->take_upcalls()) {
        if (auto* abort = std::get_if<AbortCall>(&call)) orders.push_back(*abort);
        if (auto* confirm = std::get_if<ConfirmCall>(&call)) questions.push_back(*confirm);
        if (auto* note = std::get_if<Note>(&call)) notes.push_back(note->text);
      }
    }
  }
  void pass(std::int64_t us) {
    for (const auto until = now_us + us; now_us < until; now_us += 100'000) settle();
  }
  [[nodiscard]] std::vector<std::string> connections() const {
    std::vector<std::string> endpoints;
    for (const auto& [link, endpoint] : dialled) endpoints.push_back(endpoint);
    std::sort(endpoints.begin(), endpoints.end());
    return endpoints;
  }
  /// Is each of these waits at its owner and nowhere else?
  void check_ownership(const wire::MemberMap& map, const std::vector<std::string>& waiters) {
    for (const auto& waiter : waiters) {
      CAPTURE(waiter);
      const auto& owner = map.members[wire::owner(map, TxnId(waiter))].endpoint;
      for (const auto& [endpoint, one] : heard) {
        CAPTURE(endpoint);
        CHECK(std::ranges::count(one.waiters(), waiter) == (endpoint == owner ? 1 : 0));
      }
    }
  }

 private:
  void deliver(const LinkMessage& sent) {
    const auto line = dialled.find(static_cast<std::uint64_t>(sent.link));
    REQUIRE(line != dialled.end());
    const auto it = heard.find(line->second);
    if (it == heard.end() || !it->second.up) return router->send_failed(sent.link, now_us);
    auto& one = it->second;
    if (const auto* hello = std::get_if<wire::Hello>(&sent.message)) {
      one.link = sent.link, one.incarnation = hello->incarnation;
      return router->receive(sent.link, wire::Welcome{one.epoch, 500, 3000, one.member, one.map}, now_us);
    }
    if (const auto* beat = std::get_if<wire::Heartbeat>(&sent.message)) {
      CHECK(beat->number == one.number);
      return router->receive(sent.link, wire::HeartbeatAck{one.epoch, one.number, one.map.version}, now_us);
    }
    if (std::get_if<wire::Goodbye>(&sent.message) != nullptr) {
      ++one.goodbyes;
      if (one.link == sent.link) one.link.reset(), one.waits.clear(), one.txns.clear(), one.groups.clear();
    }
    if (const auto* snapshot = std::get_if<wire::Snapshot>(&sent.message)) {
      if (snapshot->part == 0) one.waits.clear(), one.txns.clear(), one.groups.clear();
      one.number = snapshot->number;
      for (const auto& change : snapshot->changes) one.take(change);
    }
    if (const auto* delta = std::get_if<wire::Delta>(&sent.message)) {
      CHECK(delta->number == one.number + 1);
      one.number = delta->number;
      for (const auto& change : delta->changes) one.take(change);
    }
    if (const auto* confirmed = std::get_if<wire::Confirmed>(&sent.message)) one.answers.push_back(*confirmed);
    if (const auto* aborted = std::get_if<wire::Aborted>(&sent.message)) one.aborted.push_back(*aborted);
  }
};

inline std::vector<std::string> numbered(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("T" + std::to_string(i));
  return names;
}
/// A transaction owned by that member.
inline std::string owned_by(const wire::MemberMap& map, const std::string& member, const std::string& prefix = "T") {
  for (int i = 0;; ++i)
    if (map.members[wire::owner(map, TxnId(prefix + std::to_string(i)))].name == member) return prefix + std::to_string(i);
}

}  // namespace gordian::test
