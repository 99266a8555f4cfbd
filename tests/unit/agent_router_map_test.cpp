// An agent whose coordinators come, go and change their map: each wait is where it belongs, and no handle is lost.
#include <random>

#include "router_cluster.hpp"

using namespace gordian;
using namespace gordian::test;

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
