// The lock client's side of the protocol against real lock servers, with the time by hand.
#include "lock_world.hpp"

using namespace gordian;
using namespace gordian::test;
using namespace gordian::modes;

namespace {

constexpr Micros second = 1'000'000;

}  // namespace

// --- The ordinary way ---

TEST_CASE("the session opens with its first request, in no round trip of its own") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto call = world.lock(txn, "k");
  const auto messages = world.client().take_messages(0, world.now);
  REQUIRE(messages.size() == 2);
  CHECK(std::holds_alternative<wire::OpenSession>(messages[0]));
  CHECK(std::get<wire::Requests>(messages[1]).requests.size() == 1);
  for (const auto& message : messages) world.sites[0].server->receive("c0", message, {world.now, world.now});
  world.settle();
  REQUIRE(world.outcome(call) == "granted");
  CHECK(world.grants(call)[0].fence.epoch == 1);
  CHECK(world.client().held(txn).size() == 1);
}

TEST_CASE("a session that holds has its whole ttl less the margin; an idle one the whole ttl") {
  LockWorld world;
  const auto session = world.open();
  CHECK(world.client().remaining_us(session, world.now) == 10 * second);
  const auto txn = world.begin(session);
  world.lock(txn, "k");
  world.settle();
  CHECK(world.client().remaining_us(session, world.now) == 10 * second - 200'000);
  world.pass(30 * second);
  CHECK(world.client().remaining_us(session, world.now) > 6 * second);
  CHECK(world.client().status().renewals >= 8);
}

TEST_CASE("requests of one burst are one message; renewals of all sessions are one message") {
  LockWorld world;
  std::vector<TxnKey> txns;
  for (int i = 0; i < 100; ++i) txns.push_back(world.begin(world.open()));
  for (const auto txn : txns) world.lock(txn, "k" + std::to_string(static_cast<std::uint64_t>(txn)));
  const auto messages = world.client().take_messages(0, world.now);
  CHECK(messages.size() == 101);  // one OpenSession each
  CHECK(std::get<wire::Requests>(messages.back()).requests.size() == 100);
  for (const auto& message : messages) world.sites[0].server->receive("c0", message, {world.now, world.now});
  world.settle();
  world.letters.clear();
  world.pass(5 * second);
  std::size_t renewals = 0;
  for (const auto& letter : world.letters) renewals += carries<wire::Renew>(letter) ? 1 : 0;
  CHECK(renewals == 1);
}

TEST_CASE("a re-entrant lock is given back as often as it was taken; a stranger's or an old grant is refused") {
  LockWorld world;
  const auto session = world.open();
  const auto txn = world.begin(session);
  const auto first = world.lock(txn, "k", S);
  const auto second_call = world.lock(txn, "k", X);
  world.settle();
  const Grant weak = world.grants(first)[0], strong = world.grants(second_call)[0];
  CHECK(strong.fence > weak.fence);
  CHECK(strong.mode == X);
  const auto other = world.begin(session);
  const auto stranger = world.client().unlock(other, strong, world.now);
  CHECK(world.outcome(stranger) == "not_held");
  const auto one = world.client().unlock(txn, weak, world.now);
  world.settle();
  CHECK(world.outcome(one) == "done");
  CHECK(world.client().held(txn).size() == 1);
  const auto two = world.client().unlock(txn, strong, world.now);
  world.settle();
  CHECK(world.outcome(two) == "done");
  CHECK(world.sites[0].server->holds_nothing());
  const auto three = world.client().unlock(txn, strong, world.now);
  CHECK(world.outcome(three) == "not_held");
}

TEST_CASE("a waiter is granted when the holder ends, and times out when it may not wait for so long") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open());
  const auto waiter = world.begin(world.open(10 * second, 1), {}, 1);
  world.lock(holder, "k");
  world.settle();
  const auto refused = world.lock(waiter, "k", X, {.wait = std::chrono::microseconds(0)}, 1);
  const auto timeout = world.lock(waiter, "k", X, {.wait = std::chrono::seconds(1)}, 1);
  const auto patient = world.begin(world.open(10 * second, 1), {}, 1);
  const auto granted = world.lock(patient, "k", X, {}, 1);
  world.settle();
  CHECK(world.outcome(refused, 1) == "refused");
  world.pass(2 * second);
  CHECK(world.outcome(timeout, 1) == "timeout");
  world.pass(40 * second);  // longer than any lease, for it is renewed
  CHECK(world.outcome(granted, 1) == "");
  const auto end = world.client().end(holder, world.now);
  world.settle();
  CHECK(world.outcome(end) == "done");
  CHECK(world.outcome(granted, 1) == "granted");
}

TEST_CASE("several resources at several agents: all or nothing, in ascending order, the grants in the order asked") {
  LockWorld world(2, 2);
  const auto at_a = name_at(world, "a"), at_b = name_at(world, "b");
  const auto txn = world.begin(world.open());
  const std::vector<LockItem> items{{std::max(at_a, at_b), X}, {std::min(at_a, at_b), S}};
  const auto both = world.client().lock(txn, items, {}, world.now);
  world.settle();
  REQUIRE(world.outcome(both) == "granted");
  CHECK(world.grants(both)[0].name == items[0].key);
  CHECK(world.grants(both)[1].name == items[1].key);

  const auto other = world.begin(world.open(10 * second, 1), {}, 1);
  const std::string free = std::string("!") + at_a;  // sorts before both
  const std::vector<LockItem> wanted{{free, X}, {items[0].key, X}};
  const auto neither = world.client(1).lock(other, wanted, {.options = {.wait = std::chrono::seconds(1)}}, world.now);
  world.settle();
  world.pass(2 * second);
  CHECK(world.outcome(neither, 1) == "timeout");
  CHECK(world.client(1).held(other).empty());
  const auto free_again = world.lock(txn, free, X, {.wait = std::chrono::microseconds(0)});
  world.settle();
  CHECK(world.outcome(free_again) == "granted");
}

TEST_CASE("a path locks its parents in the intention mode, wherever they live, and by one request if at one agent") {
  for (const std::size_t sites : {1, 3}) {
    LockWorld world(sites, 1);
    const auto txn = world.begin(world.open());
    const LockItem path{"a/b/c", X};
    const auto call = world.client().lock(txn, {&path, 1}, {.scheme = wire::LockRequest::Scheme::path}, world.now);
    world.settle();
    REQUIRE(world.outcome(call) == "granted");
    const auto& grants = world.grants(call);
    REQUIRE(grants.size() == 3);
    CHECK(grants[0].name == "a");
    CHECK(grants[0].mode == IX);
    CHECK(grants[1].name == "a/b");
    CHECK(grants[2].name == "a/b/c");
    CHECK(grants[2].mode == X);
    if (sites == 1) CHECK(world.sent<wire::LockRequest>().size() == 1);
    for (auto it = grants.rbegin(); it != grants.rend(); ++it) {
      const auto unlock = world.client().unlock(txn, *it, world.now);
      world.settle();
      CHECK(world.outcome(unlock) == "done");
    }
  }
}

TEST_CASE("some of several resources: whichever are free") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open(10 * second, 1), {}, 1);
  world.lock(holder, "a", X, {}, 1);
  world.settle();
  const auto txn = world.begin(world.open());
  const std::vector<LockItem> items{{"a", X}, {"b", X}, {"c", X}};
  const auto call = world.client().lock(txn, items, {.scheme = wire::LockRequest::Scheme::some, .need = 2}, world.now);
  world.settle();
  REQUIRE(world.outcome(call) == "granted");
  CHECK(world.grants(call)[0].name == "b");
  CHECK(world.grants(call)[1].name == "c");
}

TEST_CASE("a downgrade lets others in, and the hold is known to be weaker") {
  LockWorld world(1, 2);
  const auto txn = world.begin(world.open());
  const auto call = world.lock(txn, "k");
  const auto other = world.begin(world.open(10 * second, 1), {}, 1);
  world.settle();
  const auto reader = world.lock(other, "k", S, {}, 1);
  world.settle();
  CHECK(world.outcome(reader, 1) == "");
  const auto down = world.client().downgrade(txn, world.grants(call)[0], S, world.now);
  world.settle();
  CHECK(world.outcome(down) == "done");
  CHECK(world.outcome(reader, 1) == "granted");
  CHECK(world.client().held(txn)[0].mode == S);
}

// --- Lost messages ---

TEST_CASE("an answer that is lost: the same number is sent again, and the lock is granted once") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  world.lose = [](const Letter& letter) { return carries<wire::Replies>(letter); };
  const auto call = world.lock(txn, "k");
  world.settle();
  CHECK(world.outcome(call) == "");
  world.lose = nullptr;
  world.pass(second);
  CHECK(world.outcome(call) == "granted");
  const auto requests = world.sent<wire::LockRequest>();
  REQUIRE(requests.size() == 2);
  CHECK(requests[0].id.request == requests[1].id.request);
  CHECK(world.client().status().resent == 1);
  const auto unlock = world.client().unlock(txn, world.grants(call)[0], world.now);
  world.settle();
  CHECK(world.outcome(unlock) == "done");
  CHECK(world.sites[0].server->holds_nothing());
}

TEST_CASE("replies that come twice, and replies to nothing, change nothing") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto call = world.lock(txn, "k");
  world.settle();
  CHECK(world.outcome(call) == "granted");
  const auto letters = world.letters;
  for (const auto& letter : letters)
    if (from_site(letter)) world.client().receive(0, std::get<wire::ToLockClient>(letter.message), world.now);
  world.client().receive(0, wire::Replies{{{12345, 1, wire::LockStatus::done, {{0, {9, 9}}}, {}, {}}}}, world.now);
  CHECK(world.client().held(txn).size() == 1);
  CHECK(world.client().held(txn)[0].fence == world.grants(call)[0].fence);
  CHECK(!world.client().has_messages(0));
}

TEST_CASE("a request given up that is granted after all is undone") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  world.lose = from_site;  // it is granted, but nobody hears of it
  const auto call = world.lock(txn, "k");
  world.settle();
  world.client().cancel(call, world.now);
  CHECK(world.outcome(call) == "cancelled");
  world.lose = nullptr;
  world.pass(2 * second);
  CHECK(world.sites[0].server->holds_nothing());
  CHECK(world.sent<wire::UnlockRequest>().size() == 1);
  const auto again = world.lock(txn, "k");
  world.settle();
  CHECK(world.outcome(again) == "granted");
}

TEST_CASE("a waiting request that is given up leaves the queue") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open(10 * second, 1), {}, 1);
  world.lock(holder, "k", X, {}, 1);
  world.settle();
  const auto txn = world.begin(world.open());
  const auto call = world.lock(txn, "k");
  world.settle();
  CHECK(world.sites[0].server->status().waiting == 1);
  world.client().cancel_all(txn, world.now);
  CHECK(world.outcome(call) == "cancelled");
  world.settle();
  CHECK(world.sites[0].server->status().waiting == 0);
  CHECK(world.client().status().pending == 0);
}

TEST_CASE("a lock taken right after an unlock of the same name goes out when the unlock was answered") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto shared = world.lock(txn, "k", S);
  world.settle();
  world.lose = [](const Letter& letter) { return carries<wire::Requests>(letter); };
  const auto unlock = world.client().unlock(txn, world.grants(shared)[0], world.now);
  const auto exclusive = world.lock(txn, "k", X);
  const auto elsewhere = world.lock(txn, "other", X);
  world.settle();
  CHECK(world.sent<wire::LockRequest>().size() == 2);  // the first, and `other`
  world.lose = nullptr;
  world.pass(second);
  CHECK(world.outcome(unlock) == "done");
  CHECK(world.outcome(exclusive) == "granted");
  CHECK(world.outcome(elsewhere) == "granted");
  const auto last = world.client().unlock(txn, world.grants(exclusive)[0], world.now);
  world.settle();
  CHECK(world.outcome(last) == "done");
  CHECK(world.sites[0].server->status().locks == 1);
}

TEST_CASE("an end that is lost is sent again; its transaction's id is taken until then") {
  LockWorld world;
  const auto session = world.open();
  const auto txn = world.begin(session, {.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}});
  world.lock(txn, "k");
  world.settle();
  world.lose = [](const Letter& letter) { return carries<wire::Requests>(letter); };
  world.client().drop(txn, world.now);
  world.settle();
  const auto second_use = world.client().begin(
      session, {.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}}, world.now);
  REQUIRE(!second_use);
  CHECK(second_use.error().code == LockError::Code::invalid);
  world.lose = nullptr;
  world.pass(second);
  CHECK(world.sites[0].server->holds_nothing());
  CHECK(world.client()
            .begin(session, {.id = TxnId("T"), .start = {}, .label = {}, .strategy = {}, .on_aborted = {}}, world.now)
            .has_value());
}

TEST_CASE("an agent that does not answer is unreachable, for locks, unlocks and ends") {
  LockWorld world;
  const auto txn = world.begin(world.open(60 * second));
  const auto held = world.lock(txn, "k");
  world.settle();
  world.grants(held);
  world.sites[0].crash();
  const auto lock = world.lock(txn, "other");
  const auto unlock = world.client().unlock(txn, world.grants(held)[0], world.now);
  world.pass(4'900'000);
  CHECK(world.outcome(lock) == "");
  world.pass(200'000);
  CHECK(world.outcome(lock) == "unreachable");
  CHECK(world.outcome(unlock) == "unreachable");
  const auto end = world.client().end(txn, world.now);
  world.pass(6 * second);
  CHECK(world.outcome(end) == "unreachable");
}

TEST_CASE(
    "a request that is known to wait may wait while its lease lives, though nothing is answered for longer than the "
    "limit") {
  LockWorld world(1, 2);
  const auto holder = world.begin(world.open(60 * second, 1), {}, 1);
  world.lock(holder, "k", X, {}, 1);
  world.settle();
  const auto txn = world.begin(world.open(60 * second));
  const auto call = world.lock(txn, "k");
  world.settle();
  world.lose = [](const Letter& letter) { return letter.client == 0; };
  world.pass(30 * second);
  CHECK(world.outcome(call) == "");
  world.lose = nullptr;
  world.client(1).drop(holder, world.now);
  world.pass(20 * second);
  CHECK(world.outcome(call) == "granted");
}

// --- Limits and bad input ---

TEST_CASE("limits say so: sessions, requests, names, items, times to live") {
  LockWorld world(1, 1, {.sessions = 2, .pending_requests = 3, .name_bytes = 10});
  const auto session = world.open();
  (void)world.open();
  CHECK(world.client().open({}).error().code == LockError::Code::limit);
  CHECK(world.client().open({.ttl = std::chrono::milliseconds(99), .on_jeopardy = {}, .on_lost = {}}).error().code ==
        LockError::Code::invalid);
  CHECK(world.client().open({.ttl = std::chrono::hours(2), .on_jeopardy = {}, .on_lost = {}}).error().code ==
        LockError::Code::invalid);
  const auto txn = world.begin(session);
  CHECK(world.outcome(world.lock(txn, "")) == "invalid");
  CHECK(world.outcome(world.lock(txn, std::string(11, 'x'))) == "limit");
  CHECK(world.outcome(world.lock(txn, "k", Mode{15})) == "invalid");
  CHECK(world.outcome(world.lock(txn, "k", X, {.wait = {}, .site = SiteId("nowhere")})) == "invalid");
  CHECK(world.outcome(world.client().lock(txn, {}, {}, world.now)) == "invalid");
  const std::vector<LockItem> many(1001, LockItem{"k", S});
  CHECK(world.outcome(world.client().lock(txn, many, {}, world.now)) == "limit");
  for (int i = 0; i < 3; ++i) world.lock(txn, "k" + std::to_string(i));
  CHECK(world.outcome(world.lock(txn, "k9")) == "limit");
}

TEST_CASE("names of any bytes, 1 to the limit") {
  LockWorld world(2, 1);
  const auto txn = world.begin(world.open());
  for (const auto& name : {std::string(1, '\0'), std::string("\xff\x00/", 3), std::string(1024, '\x80')}) {
    const auto call = world.lock(txn, name);
    world.settle();
    REQUIRE(world.outcome(call) == "granted");
    CHECK(world.grants(call)[0].name == name);
  }
}

TEST_CASE("an agent that refuses the session: the calls fail with its reason") {
  LockWorld world;
  const auto txn = world.begin(world.open());
  const auto call = world.lock(txn, "k");
  const auto messages = world.client().take_messages(0, world.now);
  const auto number = std::get<wire::OpenSession>(messages[0]).session;
  world.client().receive(0, wire::SessionEnded{number, wire::SessionEnded::Why::refused, "ttl_max is 5 s"}, world.now);
  CHECK(world.outcome(call) == "limit");
  CHECK(world.error(call).message.find("ttl_max is 5 s") != std::string::npos);
}

TEST_CASE("names of agents as text") {
  const auto list = AgentAddress::parse_list("a=tcp://127.0.0.1:1,b=ipc:///x=y");
  REQUIRE(list.has_value());
  REQUIRE(list->size() == 2);
  CHECK((*list)[1].endpoint == "ipc:///x=y");
  for (const char* wrong : {"", "a", "=tcp://x", "a=", "a=1,,b=2", "a=1,a=2", "a=1,"})
    CHECK(!AgentAddress::parse_list(wrong));
}

TEST_CASE("rendezvous: the page's words, computed another way, and a site that goes moves only its own share") {
  // docs/lock-protocol.md, with products of 32-bit halves.
  const auto times = [](std::uint64_t a, std::uint64_t b) {
    const std::uint64_t low = (a & 0xffffffff) * (b & 0xffffffff);
    const std::uint64_t middle = (a >> 32) * (b & 0xffffffff) + (a & 0xffffffff) * (b >> 32);
    return low + (middle << 32);
  };
  const auto hash = [&](const std::string& site, const std::string& name) {
    std::uint64_t h = 0xcbf29ce484222325ULL;
    for (const unsigned char c : site + name) h = times(h ^ c, 0x100000001b3ULL);
    h = times(h ^ (h / (1ULL << 30)), 0xbf58476d1ce4e5b9ULL);
    h = times(h ^ (h / (1ULL << 27)), 0x94d049bb133111ebULL);
    return h ^ (h / (1ULL << 31));
  };
  const auto agents = *AgentAddress::parse_list("north=x,south=x,east=x");
  const auto fewer = *AgentAddress::parse_list("east=x,north=x");
  std::map<std::string, int> shares;
  for (int i = 0; i < 3000; ++i) {
    const auto name = "orders/" + std::to_string(i);
    std::string best;
    for (const auto& agent : agents)
      if (best.empty() || hash(agent.site.str(), name) > hash(best, name)) best = agent.site.str();
    const auto& chosen = agents[rendezvous(agents, name)].site.str();
    CHECK(chosen == best);
    ++shares[chosen];
    if (chosen != "south") CHECK(fewer[rendezvous(fewer, name)].site.str() == chosen);
  }
  for (const auto& [site, share] : shares) CHECK(share > 900);
  // Computed by ten lines of Python.
  CHECK(hash("a", "orders/42") == 18324991526279309715ULL);
  const char* placed[] = {"east", "east",  "north", "north", "south", "north",
                          "east", "north", "east",  "north", "south", "east"};
  for (int i = 0; i < 12; ++i) CHECK(agents[rendezvous(agents, "orders/" + std::to_string(i))].site.str() == placed[i]);
}
