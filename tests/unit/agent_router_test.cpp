// An agent that speaks with several coordinators: ownership, a changed map, questions and orders over any session.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "agent/agent_router.hpp"

using namespace gordian;
using namespace gordian::agent;

namespace {

constexpr std::int64_t second = 1'000'000;

wire::MemberMap map_of(std::uint64_t version, const std::vector<std::string>& names) {
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

std::vector<std::string> numbered(int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back("T" + std::to_string(i));
  return names;
}
/// A transaction owned by that member.
std::string owned_by(const wire::MemberMap& map, const std::string& member, const std::string& prefix = "T") {
  for (int i = 0;; ++i)
    if (map.members[wire::owner(map, TxnId(prefix + std::to_string(i)))].name == member) return prefix + std::to_string(i);
}

}  // namespace

TEST_CASE("each wait is told to its owner only, whichever coordinator answered first") {
  Cluster c;
  const auto map = map_of(1, {"a", "b", "c"});
  c.start(map);
  c.agent({"ipc://b"});
  CHECK(c.connections() == std::vector<std::string>{"ipc://a", "ipc://b", "ipc://c"});
  CHECK(c.router->status().coordinators == 3);
  CHECK(c.router->status().connected_to == 3);
  for (const auto& name : numbered(60)) (void)c.wait(name, "X");
  c.settle();
  c.check_ownership(map, numbered(60));
  CHECK(c.router->status().waits == 60);
  CHECK(c.router->status().published == 60);
  for (const auto* member : {"a", "b", "c"}) CHECK(c.at(member).waits.size() > 5);
}

TEST_CASE("waits that began before anybody answered are told to their owners once the map is known") {
  Cluster c;
  const auto map = map_of(1, {"a", "b", "c"});
  c.agent({"ipc://a", "ipc://b"});
  std::map<std::string, WaitHandle> handles;
  for (const auto& name : numbered(30)) handles.emplace(name, c.wait(name, "X"));
  c.pass(second);
  CHECK_FALSE(c.router->status().connected);
  c.start(map);
  c.pass(second);
  c.check_ownership(map, numbered(30));
  for (const auto& [name, handle] : handles) {
    CHECK(c.router->set_blockers(handle, {{TxnId("Y")}}).has_value());
    c.router->end_wait(handle);
  }
  c.settle();
  for (const auto* member : {"a", "b", "c"}) CHECK(c.at(member).waits.empty());
  CHECK_FALSE(c.router->set_blockers(handles.at("T0"), {}).has_value());
}

TEST_CASE("one coordinator alone owns everything, and handles are the numbers on the wire") {
  Cluster c;
  c.start("ipc://a", "", {});
  c.agent({"ipc://a"});
  const auto handle = c.wait("T1", "T2");
  c.settle();
  CHECK(c.at("a").waits.contains(static_cast<std::uint64_t>(handle)));
  CHECK(c.router->status().coordinators == 1);
  c.router->end_wait(handle);
  c.settle();
  CHECK(c.at("a").waits.empty());
}

TEST_CASE("no two waits at any coordinators share a sequence") {
  Cluster c;
  c.start(map_of(1, {"a", "b", "c"}));
  c.agent({"ipc://a"});
  for (const auto& name : numbered(50)) (void)c.wait(name, "X");
  c.settle();
  std::set<std::uint64_t> sequences;
  for (const auto* member : {"a", "b", "c"})
    for (const auto& [sequence, wait] : c.at(member).waits) CHECK(sequences.insert(sequence).second);
  CHECK(sequences.size() == 50);
}

TEST_CASE("a question over another session is answered by the numbers of the owner's") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto mine = owned_by(map, "a");
  for (int i = 0; i < 5; ++i) (void)c.wait(owned_by(map, "b", "N" + std::to_string(i) + "-"), "X"), c.settle();
  const auto handle = c.wait(mine, "X");
  c.settle();
  const auto sequence = c.at("a").sequence_of(mine);
  const auto since = c.at("a").number;  // few messages went to a, many to b
  REQUIRE(c.at("b").number > since);
  const auto ask = [&](std::uint64_t number) {
    c.say("b", wire::Confirm{1, 7, 9, {{sequence, TxnId("X"), number}}});
    return c.at("b").answers.back().denied.empty();
  };
  CHECK(ask(since));
  CHECK_FALSE(ask(since - 1));
  CHECK(c.at("a").answers.empty());
  CHECK(c.router->renew_blocker(handle, TxnId("X")).has_value());
  CHECK_FALSE(ask(since));
  c.router->end_wait(handle);
  CHECK_FALSE(ask(100));
}

TEST_CASE("an engine that looks again is asked with its own handles, and may answer at once or later") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"}, true);
  const auto at_a = owned_by(map, "a"), at_b = owned_by(map, "b");
  const auto first = c.wait(at_a, "X"), second_wait = c.wait(at_b, "X");
  c.settle();
  c.say("b", wire::Confirm{1, 7, 1,
                           {{c.at("a").sequence_of(at_a), TxnId("X"), c.at("a").number},
                            {c.at("b").sequence_of(at_b), TxnId("X"), c.at("b").number}}});
  REQUIRE(c.questions.size() == 1);
  CHECK(c.questions[0].waits == std::vector<WaitHandle>{first, second_wait});
  CHECK(c.at("b").answers.empty());
  c.router->end_wait(first);
  c.router->confirm_ready(c.questions[0].ticket);
  c.router->confirm_ready(c.questions[0].ticket);
  c.settle();
  REQUIRE(c.at("b").answers.size() == 1);
  CHECK(c.at("b").answers[0].denied.size() == 1);
  CHECK(c.at("a").waits.empty());
}

TEST_CASE("an order over another session ends the wait at its owner, once") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto victim = owned_by(map, "a");
  const auto handle = c.wait(victim, "X");
  c.settle();
  const wire::Abort order{1, 7, 4, "b-1-1", TxnId(victim), c.at("a").sequence_of(victim), wire::Abort::Role::waiting, 0,
                          2000, "why"};
  c.say("b", order);
  REQUIRE(c.orders.size() == 1);
  CHECK(c.orders[0].order.wait == handle);
  c.router->answer_abort(c.orders[0].ticket, wire::Aborted::Outcome::done, "");
  c.settle();
  CHECK(c.at("b").aborted.back().outcome == wire::Aborted::Outcome::done);
  CHECK(c.at("a").aborted.empty());
  CHECK(c.at("a").waits.empty());
  c.say("b", order);
  CHECK(c.at("b").aborted.back().text == "done already");
  c.say("a", order);
  CHECK(c.at("a").aborted.back().outcome == wire::Aborted::Outcome::stale);
  CHECK(c.orders.size() == 1);
  CHECK(c.router->status().aborts_done == 1);
}

TEST_CASE("each session goes by the term of its own coordinator") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.at("a").epoch = 5;
  c.agent({"ipc://a"});
  const auto waiter = owned_by(map, "b");
  (void)c.wait(waiter, "X");
  c.settle();
  c.say("b", wire::Confirm{1, 7, 1, {{c.at("b").sequence_of(waiter), TxnId("X"), c.at("b").number}}});
  REQUIRE(c.at("b").answers.size() == 1);
  c.say("a", wire::Confirm{4, 7, 1, {{c.at("b").sequence_of(waiter), TxnId("X"), c.at("b").number}}});
  CHECK(c.router->status().orders_refused == 1);
  CHECK(c.router->status().epoch == 5);
}

TEST_CASE("a changed map: waits go to their new owners as new waits, and the engine sees nothing of it") {
  Cluster c;
  const auto old_map = map_of(1, {"a", "b"}), new_map = map_of(2, {"b", "c"});
  c.start(old_map);
  c.agent({"ipc://a"});
  std::map<std::string, WaitHandle> handles;
  for (const auto& name : numbered(40)) handles.emplace(name, c.wait(name, "X"));
  c.settle();
  const auto stays = [&](const std::string& name) {
    return wire::owner(old_map, TxnId(name)) == 1 && wire::owner(new_map, TxnId(name)) == 0;
  };
  std::map<std::string, std::uint64_t> sequences;
  for (const auto* member : {"a", "b"})
    for (const auto& [sequence, wait] : c.at(member).waits) sequences[wait.waiter.str()] = sequence;

  c.start(new_map);
  c.at("a").map = new_map;
  c.pass(second);  // the next heartbeat's answer tells that there is a newer map
  CHECK(c.connections() == std::vector<std::string>{"ipc://b", "ipc://c"});
  CHECK(c.at("a").goodbyes == 1);
  c.check_ownership(new_map, numbered(40));
  for (const auto& name : numbered(40)) {
    CAPTURE(name);
    const auto now = std::max(c.at("b").sequence_of(name), c.at("c").sequence_of(name));
    CHECK((now == sequences.at(name)) == stays(name));
  }

  // What was asked or ordered about the old wait no longer holds; the new one has its own number.
  const auto moved = c.at("c").waiters().front();
  c.say("b", wire::Confirm{1, 7, 1, {{sequences.at(moved), TxnId("X"), 1000}}});
  CHECK(c.at("b").answers.back().denied.size() == 1);
  c.say("b", wire::Abort{1, 7, 1, "b-1-1", TxnId(moved), sequences.at(moved), wire::Abort::Role::waiting, 0, 1000, ""});
  CHECK(c.at("b").aborted.back().outcome == wire::Aborted::Outcome::stale);
  c.say("c", wire::Abort{1, 7, 1, "c-1-1", TxnId(moved), c.at("c").sequence_of(moved), wire::Abort::Role::waiting, 0, 1000, ""});
  REQUIRE(c.orders.size() == 1);
  CHECK(c.orders[0].order.wait == handles.at(moved));

  for (const auto& [name, handle] : handles) c.router->end_wait(handle);
  c.settle();
  CHECK(c.router->status().waits == 0);
  CHECK(c.at("b").waits.empty());
  CHECK(c.at("c").waits.empty());
}

TEST_CASE("from one coordinator to three, and back to one of them") {
  Cluster c;
  c.start("ipc://a", "", {});
  c.agent({"ipc://a"});
  std::map<std::string, WaitHandle> handles;
  for (const auto& name : numbered(20)) handles.emplace(name, c.wait(name, "X"));
  c.settle();
  const auto three = map_of(1, {"a", "b", "c"});
  c.start(three);
  c.pass(second);
  c.check_ownership(three, numbered(20));
  for (int i = 20; i < 40; ++i) handles.emplace("T" + std::to_string(i), c.wait("T" + std::to_string(i), "X"));
  const auto one = map_of(2, {"c"});
  c.start(one);
  c.at("a").map = one;
  c.pass(second);
  CHECK(c.connections() == std::vector<std::string>{"ipc://c"});
  CHECK(c.at("c").waits.size() == 40);
  for (const auto& [name, handle] : handles) c.router->end_wait(handle);
  c.settle();
  CHECK(c.at("c").waits.empty());
}

TEST_CASE("a member that is away keeps its waits, and gets all of them when it is back") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto before = owned_by(map, "b"), meanwhile = owned_by(map, "b", "M"), gone = owned_by(map, "b", "G");
  (void)c.wait(before, "X");
  const auto ending = c.wait(gone, "X");
  c.settle();
  c.at("b").up = false;
  c.pass(5 * second);
  CHECK(c.router->status().connected_to == 1);
  (void)c.wait(meanwhile, "X");
  c.router->end_wait(ending);
  c.pass(second);
  CHECK(c.at("a").waits.empty());
  auto& back = c.at("b");
  back.up = true, back.waits.clear(), back.number = 0, back.epoch = 2;
  c.pass(second);
  CHECK(c.at("b").waiters() == [&] {
    std::vector<std::string> both{before, meanwhile};
    std::sort(both.begin(), both.end());
    return both;
  }());
  CHECK(c.router->status().connected_to == 2);
}

TEST_CASE("groups and descriptions are told to whom a wait names them, also to a coordinator that came later") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start("ipc://a", "", {});
  c.agent({"ipc://a"});
  const auto group = c.router->begin_group("r", "S").value();
  c.router->join_group(group, TxnId("H1"));
  CHECK(c.router->describe(TxnId("H1"), {.start = 3.0}).has_value());
  c.start(map);
  c.pass(second);
  const auto at_b = owned_by(map, "b");
  (void)c.wait(at_b, "", {group});
  c.router->join_group(group, TxnId("H2"));
  c.settle();
  CHECK(c.at("b").groups.at(group).size() == 2);
  CHECK(c.at("b").txns.at(TxnId("H1")).start == 3.0);
  CHECK(c.at("a").groups.empty());
  CHECK(c.at("a").txns.empty());
  const auto later = c.router->begin_group("q", "X").value();
  CHECK(later != group);
  (void)c.wait(owned_by(map, "a"), "", {group, later});
  c.settle();
  CHECK(c.at("a").groups.size() == 2);
  c.router->leave_group(group, TxnId("H1"));
  c.settle();
  CHECK(c.at("a").groups.at(group) == std::vector{TxnId("H2")});
  CHECK(c.at("b").groups.at(group) == std::vector{TxnId("H2")});
}

TEST_CASE("forgetting a transaction ends its waits at its owner, and its handles are unknown then") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  const auto txn = owned_by(map, "b");
  const auto handle = c.wait(txn, "X");
  c.settle();
  c.router->forget(TxnId(txn));
  c.settle();
  CHECK(c.at("b").waits.empty());
  CHECK_FALSE(c.router->set_blockers(handle, {}).has_value());
}

TEST_CASE("the limit of waits is for the agent, not for each session") {
  Cluster c;
  c.start(map_of(1, {"a", "b", "c"}));
  c.agent({"ipc://a"});
  for (const auto& name : numbered(300)) (void)c.wait(name, "X");
  const auto refused = c.router->begin_wait({TxnId("one more"), {}, "r", "X"}, c.now_us);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == AgentError::Code::limit_reached);
}

TEST_CASE("an incarnation that one coordinator finds too old is given up at all of them") {
  Cluster c;
  c.start(map_of(1, {"a", "b"}));
  c.agent({"ipc://a"});
  c.say("b", wire::Error{wire::Error::Code::stale_incarnation, "old", 20});
  c.settle();
  CHECK(c.at("a").incarnation == 21);
  CHECK(c.at("b").incarnation == 21);
  CHECK(c.router->status().incarnation == 21);
}

TEST_CASE("a coordinator reached under another name is not dialled twice") {
  Cluster c;
  const auto map = map_of(1, {"a", "b"});
  c.start(map);
  c.start("ipc://anywhere", "b", map);
  c.agent({"ipc://anywhere"});
  CHECK(c.connections() == std::vector<std::string>{"ipc://a", "ipc://anywhere"});
  // What is behind that name changes: it is a now, so b is dialled where the map says.
  c.heard.at("ipc://anywhere").member = "a";
  c.router->receive(*c.heard.at("ipc://anywhere").link, wire::Error{wire::Error::Code::unknown_session, ""}, c.now_us);
  c.pass(second);
  CHECK(c.connections() == std::vector<std::string>{"ipc://anywhere", "ipc://b"});
  (void)c.wait(owned_by(map, "a"), "X");
  (void)c.wait(owned_by(map, "b"), "X");
  c.settle();
  CHECK(c.heard.at("ipc://anywhere").waits.size() == 1);
  CHECK(c.at("b").waits.size() == 1);
}

TEST_CASE("another map of no larger version is not followed, and told of once") {
  Cluster c;
  const auto map = map_of(3, {"a", "b"});
  c.start(map);
  c.agent({"ipc://a"});
  c.at("b").map = map_of(3, {"b", "x"});
  for (int i = 0; i < 3; ++i) c.say("b", wire::Error{wire::Error::Code::unknown_session, ""}), c.pass(second);
  CHECK(*c.router->map() == map);
  CHECK(std::ranges::count_if(c.notes, [](const auto& note) { return note.find("coordinator b goes by map 3") != std::string::npos; }) == 1);
}

TEST_CASE("when all known coordinators are gone, those that were given are tried again") {
  Cluster c;
  c.start(map_of(1, {"a", "b"}));
  c.agent({"ipc://first"});
  CHECK_FALSE(c.router->status().connected);
  c.start("ipc://first", "a", map_of(1, {"a", "b"}));
  c.pass(second);
  REQUIRE(c.router->status().connected_to == 2);
  (void)c.wait("T1", "X");
  c.settle();
  for (auto& [endpoint, one] : c.heard) one.up = false;
  const auto moved = map_of(2, {"y", "z"});
  c.start(moved);
  c.start("ipc://given", "y", moved);
  c.pass(2 * second);
  c.heard.at("ipc://first").up = true, c.heard.at("ipc://first").map = moved, c.heard.at("ipc://first").member = "y";
  c.pass(20 * second);
  CHECK(c.router->map()->version == 2);
  CHECK(c.connections().size() == 2);
  CHECK(c.router->status().published == 1);
}

TEST_CASE("one that is alone is followed again when it comes back alone, and another one too when it is all there is") {
  Cluster c;
  c.start("ipc://a", "", {});
  c.agent({"ipc://a", "ipc://standby"});
  CHECK(c.connections() == std::vector<std::string>{"ipc://a"});
  const auto handle = c.wait("T1", "X");
  c.settle();
  c.at("a").up = false;
  c.start("ipc://standby", "", {});
  c.pass(15 * second);
  CHECK(c.connections() == std::vector<std::string>{"ipc://standby"});
  CHECK(c.heard.at("ipc://standby").waits.size() == 1);
  c.router->end_wait(handle);
  c.settle();
  CHECK(c.heard.at("ipc://standby").waits.empty());
}

TEST_CASE("endpoints in a list") {
  CHECK(endpoints_of("") == std::vector<std::string>{});
  CHECK(endpoints_of("tcp://h:1") == std::vector<std::string>{"tcp://h:1"});
  CHECK(endpoints_of(" tcp://h:1 , ,ipc:///x y,") == std::vector<std::string>{"tcp://h:1", "ipc:///x y"});
}

TEST_CASE("random histories: whatever the map does, waits are where they belong and no handle is lost") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    std::uint64_t state = seed * 2654435761u + 1;
    const auto random = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33; };
    const auto pick = [&](std::uint64_t below) { return random() % below; };
    Cluster c;
    auto map = map_of(1, {"a", "b", "c"});
    c.start(map);
    c.agent({"ipc://a", "ipc://b", "ipc://c", "ipc://d"});
    std::map<std::string, WaitHandle> standing;
    for (int step = 0; step < 120; ++step) {
      const auto name = "T" + std::to_string(pick(25));
      const auto what = pick(12);
      if (what < 5) {
        if (!standing.contains(name)) standing.emplace(name, c.wait(name, "X" + std::to_string(pick(4))));
      } else if (what < 8) {
        if (const auto it = standing.find(name); it != standing.end()) c.router->end_wait(it->second), standing.erase(it);
      } else if (what == 8) {
        if (const auto it = standing.find(name); it != standing.end())
          CHECK(c.router->set_blockers(it->second, {{TxnId("Y")}}).has_value());
      } else if (what == 9) {
        c.router->forget(TxnId(name));
        standing.erase(name);
      } else if (what == 10) {
        auto& one = std::next(c.heard.begin(), static_cast<std::ptrdiff_t>(pick(c.heard.size())))->second;
        one.up = !one.up;
        if (one.up) one.number = 0, one.waits.clear(), ++one.epoch;
      } else {
        std::vector<std::string> names;
        for (const auto* each : {"a", "b", "c", "d"})
          if (pick(3) != 0) names.emplace_back(each);
        if (names.empty()) names = {"d"};
        map = map_of(map.version + 1, names);
        for (auto& [endpoint, one] : c.heard) one.map = map;
        for (const auto& member : map.members)
          if (!c.heard.contains(member.endpoint)) c.start(member.endpoint, member.name, map);
      }
      c.pass(200'000);
    }
    for (auto& [endpoint, one] : c.heard) {
      if (!one.up) one.up = true, one.number = 0, one.waits.clear(), ++one.epoch;
      one.map = map;
    }
    c.pass(15 * second);
    REQUIRE(*c.router->map() == map);
    std::vector<std::string> names;
    for (const auto& [name, handle] : standing) names.push_back(name);
    for (const auto& member : map.members) CHECK(c.heard.at(member.endpoint).link.has_value());
    std::size_t told = 0;
    for (const auto& member : map.members) told += c.heard.at(member.endpoint).waits.size();
    CHECK(told == names.size());
    for (const auto& name : names) {
      const auto& owner = map.members[wire::owner(map, TxnId(name))].endpoint;
      CHECK(c.heard.at(owner).sequence_of(name) != 0);
    }
    for (const auto& [name, handle] : standing) CHECK(c.router->set_blockers(handle, {{TxnId("Z")}}).has_value());
    for (const auto& [name, handle] : standing) c.router->end_wait(handle);
    CHECK(c.router->status().waits == 0);
  }
}
