// Both sides of the protocol in one process, with a network that the test controls: every message is encoded, may be held
// back, lost or doubled, and is decoded again. Engines obey at once unless the test says otherwise.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/agent_core.hpp"
#include "coordinator/coordinator.hpp"
#include "wire/codec.hpp"

namespace gordian::test {

class World {
 public:
  struct Engine {
    std::unique_ptr<agent::AgentCore> core;
    bool up = true;
    bool obeys = true;              ///< answers orders with done, and ends the victim's waits
    std::vector<agent::AbortCall> orders;
    std::vector<agent::ReorderCall> reorders;
    std::vector<agent::ConfirmCall> questions;
    std::vector<std::string> notes;
    std::map<std::string, WaitHandle> handles;   ///< waiter → its wait here
    std::map<std::string, GroupHandle> groups;   ///< by resource
  };
  coordinator::Options options;
  std::map<std::string, Engine> engines;  ///< by site
  std::unique_ptr<coordinator::Coordinator> boss;
  std::vector<coordinator::Event> events;
  std::deque<std::pair<std::string, std::string>> to_boss;  ///< (site, bytes) in flight
  std::deque<std::pair<std::string, std::string>> to_agent;
  std::int64_t now_us = 1'000'000;
  bool cut = false;  ///< nothing gets through
  std::function<bool(const std::string& site, const wire::Request&)> lose_request = [](auto&, auto&) { return false; };

  World() { start_boss(); }

  void start_boss() {
    boss = std::make_unique<coordinator::Coordinator>(options, time());
    to_boss.clear(), to_agent.clear();
  }
  [[nodiscard]] coordinator::Time time() const { return {now_us, now_us}; }

  Engine& add(const std::string& site, std::uint64_t incarnation = 1, std::function<void(agent::Options&)> change = {}) {
    agent::Options options_of_agent{.site = SiteId(site), .incarnation = incarnation, .instance = site + std::to_string(incarnation)};
    options_of_agent.publish_after_us = 0;
    if (change) change(options_of_agent);
    auto& engine = engines[site] = Engine{};
    engine.core = std::make_unique<agent::AgentCore>(options_of_agent, now_us);
    settle();
    return engine;
  }

  /// `waiter` begins to wait for `blockers` at `site`.
  void wait(const std::string& site, const std::string& waiter, std::vector<std::string> blockers) {
    Wait w{TxnId(waiter), {}, "r-" + waiter, "X", "sql of " + waiter};
    for (const auto& b : blockers) w.blockers.push_back({TxnId(b)});
    auto handle = engines.at(site).core->begin_wait(std::move(w), now_us);
    if (handle) engines.at(site).handles[waiter] = *handle;
  }
  /// T1 holds at a and waits at b; T2 holds at b and waits at a.
  void cross() { wait("b", "T1", {"T2"}), wait("a", "T2", {"T1"}); }
  /// `waiter` begins to wait for `need` of these at `site`, in any kind; 0: for all.
  void wait_for(const std::string& site, const std::string& waiter, std::vector<Blocker> blockers, std::uint32_t need = 0) {
    Wait w{TxnId(waiter), std::move(blockers), "r-" + waiter, "X", "sql of " + waiter};
    w.need = need;
    engines.at(site).handles[waiter] = engines.at(site).core->begin_wait(std::move(w), now_us).value();
  }
  /// `holders` hold `resource` at `site`, as a group.
  void group(const std::string& site, const std::string& resource, std::vector<std::string> holders, Kind kind = Kind::hard) {
    auto& engine = engines.at(site);
    engine.groups[resource] = engine.core->begin_group(resource, "S", kind).value();
    for (const auto& holder : holders) join(site, resource, holder);
  }
  void join(const std::string& site, const std::string& resource, const std::string& holder) {
    engines.at(site).core->join_group(engines.at(site).groups.at(resource), TxnId(holder));
  }
  void leave(const std::string& site, const std::string& resource, const std::string& holder) {
    engines.at(site).core->leave_group(engines.at(site).groups.at(resource), TxnId(holder));
  }
  /// `waiter` begins to wait for whoever holds `resource` at `site`.
  void wait_for_group(const std::string& site, const std::string& waiter, const std::string& resource) {
    auto& engine = engines.at(site);
    Wait w{TxnId(waiter), {}, resource, "X", "sql of " + waiter};
    w.groups = {engine.groups.at(resource)};
    engine.handles[waiter] = engine.core->begin_wait(std::move(w), now_us).value();
  }
  void end(const std::string& site, const std::string& waiter) {
    engines.at(site).core->end_wait(engines.at(site).handles.at(waiter));
  }

  /// Takes what everybody has to say onto the network. True if there was anything.
  bool speak() {
    bool any = false;
    for (auto& [site, engine] : engines) {
      if (!engine.up) continue;
      for (const auto& message : engine.core->take_outgoing(now_us)) {
        any = true;
        if (!cut && !lose_request(site, message)) to_boss.emplace_back(site, wire::encode(wire::Request(message)));
      }
      any |= take_calls(engine);
    }
    for (const auto& out : boss->take_outgoing()) {
      any = true;
      if (!cut) to_agent.emplace_back(out.peer, wire::encode(wire::Reply(out.message)));
    }
    for (auto& event : boss->take_events()) events.push_back(std::move(event));
    return any;
  }
  void deliver_to_boss() {
    for (auto moving = std::exchange(to_boss, {}); !moving.empty(); moving.pop_front())
      boss->receive(moving.front().first, std::get<wire::FromAgent>(*wire::decode_request(moving.front().second)), time());
  }
  void deliver_to_agents() {
    for (auto moving = std::exchange(to_agent, {}); !moving.empty(); moving.pop_front()) {
      auto& [site, bytes] = moving.front();
      if (const auto it = engines.find(site); it != engines.end() && it->second.up)
        it->second.core->receive(std::get<wire::ToAgent>(*wire::decode_reply(bytes)), now_us);
    }
  }
  /// Until nobody has anything to say.
  void settle() {
    for (int i = 0; i < 1000 && speak(); ++i) deliver_to_boss(), deliver_to_agents();
  }
  void pass(std::int64_t ms) {
    for (std::int64_t i = 0; i < ms; i += 10) {
      now_us += 10'000;
      boss->tick(time());
      settle();
    }
  }

  [[nodiscard]] std::vector<coordinator::Incident> incidents() const { return boss->incidents(100); }
  [[nodiscard]] std::uint64_t counter(const std::string& name) const {
    const auto counters = boss->status(time()).counters;
    const auto it = counters.find(name);
    return it == counters.end() ? 0 : it->second;
  }
  [[nodiscard]] std::vector<std::string> ordered(const std::string& site) const {
    std::vector<std::string> txns;
    for (const auto& call : engines.at(site).orders) txns.push_back(call.order.victim.str());
    return txns;
  }

 private:
  bool take_calls(Engine& engine) {
    const auto calls = engine.core->take_upcalls();
    for (const auto& call : calls) {
      if (const auto* note = std::get_if<agent::Note>(&call)) engine.notes.push_back(note->text);
      if (const auto* question = std::get_if<agent::ConfirmCall>(&call)) engine.questions.push_back(*question);
      if (const auto* reorder = std::get_if<agent::ReorderCall>(&call)) {
        engine.reorders.push_back(*reorder);
        if (engine.obeys) let_past(engine, *reorder);
      }
      if (const auto* abort = std::get_if<agent::AbortCall>(&call)) {
        engine.orders.push_back(*abort);
        if (engine.obeys) obey(engine, *abort);
      }
    }
    return !calls.empty();
  }
  /// The wait goes ahead, and is granted at once.
  static void let_past(Engine& engine, const agent::ReorderCall& call) {
    engine.core->end_wait(call.order.wait);
    engine.core->answer_reorder(call.ticket, wire::Aborted::Outcome::done, {});
  }
  /// The victim's transaction ends at this site: it waits for nothing and blocks nobody here.
  static void obey(Engine& engine, const agent::AbortCall& call) {
    const auto& victim = call.order.victim;
    if (const auto it = engine.handles.find(victim.str()); it != engine.handles.end()) engine.core->end_wait(it->second);
    for (const auto& [resource, group] : engine.groups) engine.core->leave_group(group, victim);
    for (const auto& [waiter, handle] : engine.handles) {
      if (call.order.wait == handle) (void)engine.core->set_blockers(handle, {});
    }
    engine.core->answer_abort(call.ticket, wire::Aborted::Outcome::done, {});
  }
};

}  // namespace gordian::test
