// The wire: golden bytes of every message (docs/protocol.md), round trips, and everything a hostile sender may try.
#include <doctest/doctest.h>

#include <random>

#include "hex.hpp"
#include "refused.hpp"
#include "wire/codec.hpp"

using namespace gordian;
using namespace gordian::wire;
using gordian::test::error_of;

namespace {

Wait a_wait() {
  return {TxnId("T1"),
          {{TxnId("T2"), Kind::hard}, {TxnId("T3"), Kind::soft}, {TxnId("T4"), Kind::dotted}},
          "k",
          "X",
          "sql",
          std::chrono::microseconds(300)};
}

struct Golden {
  const char* name;
  Request message;
  const char* hex;
};
struct GoldenReply {
  const char* name;
  Reply message;
  const char* hex;
};

std::vector<Golden> requests() {
  return {
      {"Hello", FromAgent(Hello{SiteId("a"), 5, "p1", 3, true, "pg", "h", "s"}), "9a0101a16105a2703103c3a27067a168a173"},
      {"Heartbeat", FromAgent(Heartbeat{5, 300}), "94010205cd012c"},
      {"Delta with a wait", FromAgent(Delta{5, 1, {WaitChange{7, a_wait()}}}),
       "95010305" "01" "91" "9a0007a2543191a25432a16ba158a373716ccd012c91a2543391a25434"},
      {"Delta with the other changes",
       FromAgent(Delta{5, 2, {EndWaitChange{7}, TxnChange{TxnId("T1"), {}}, ForgetTxnChange{TxnId("T2")}}}),
       "95010305" "02" "93" "920107" "9902a25431c00000000000a0" "9203a25432"},
      {"Delta with a wait for two groups, and nobody by name",
       FromAgent(Delta{5, 3, {WaitChange{7, {TxnId("T1"), {}, "k", "X", "", {}, {GroupHandle{1}, GroupHandle{300}}}}}}),
       "95010305" "03" "91" "9b0007a2543190a16ba158a0009090" "9201cd012c"},
      {"Delta with groups",
       FromAgent(Delta{5,
                       4,
                       {GroupChange{GroupHandle{1}, "k", "S", {TxnId("T2"), TxnId("T3")}}, JoinChange{GroupHandle{1}, TxnId("T4")},
                        LeaveChange{GroupHandle{1}, TxnId("T2")}, EndGroupChange{GroupHandle{2}}}}),
       "95010305" "04" "94" "950401a16ba15392a25432a25433" "930501a25434" "930601a25432" "920702"},
      {"Delta with a wait for two of three, and a group of those queued ahead",
       FromAgent(Delta{5,
                       5,
                       {WaitChange{7, {TxnId("T1"), {{TxnId("T2")}, {TxnId("T3")}, {TxnId("T4"), Kind::dotted}}, "k", "X", "", {}, {}, 2}},
                        GroupChange{GroupHandle{1}, "k", "S", {TxnId("T2")}, Kind::soft}}}),
       "95010305" "05" "92" "9c0007a2543192a25432a25433a16ba158a0009091a254349002" "960401a16ba15391a2543201"},
      {"Snapshot", FromAgent(Snapshot{5, 3, 0, true, {}}), "970104050300c390"},
      {"Confirmed", FromAgent(Confirmed{9, {{7, TxnId("T2")}}}), "94010509919207a25432"},
      {"Aborted", FromAgent(Aborted{4, Aborted::Outcome::stale, "over"}), "9501060401a46f766572"},
      {"Goodbye", FromAgent(Goodbye{5}), "93010705"},
      {"Query", Query{1, "status", "{}"}, "95012001a6737461747573a27b7d"},
  };
}

std::vector<GoldenReply> replies() {
  return {
      {"Welcome", ToAgent(Welcome{2, 500, 3000}), "95011102cd01f4cd0bb8"},
      {"HeartbeatAck", ToAgent(HeartbeatAck{2, 300}), "94011202cd012c"},
      {"Resync", ToAgent(Resync{2, "gap"}), "94011302a3676170"},
      {"Confirm", ToAgent(Confirm{2, 5, 9, {{7, TxnId("T2"), 1}}}), "9601140205" "09" "919307a2543201"},
      {"Abort",
       ToAgent(Abort{2, 5, 4, "2-1", TxnId("T1"), 7, Abort::Role::holding, 1, 2000, "why"}),
       "9c0115020504a3322d31a25431070101cd07d0a3776879"},
      {"Reorder", ToAgent(Reorder{2, 5, 4, "2-1", 7, TxnId("T1"), 1, 2000, "why"}),
       "9b0117020504a3322d3107a2543101cd07d0a3776879"},
      {"Error", ToAgent(Error{Error::Code::stale_incarnation, "old", 8}), "95011606a36f6c6408"},
      {"Answer", Answer{1, true, "{}"}, "95012101c3a27b7d"},
  };
}

}  // namespace

TEST_CASE("every message has the bytes that docs/protocol.md describes, and comes back as it was") {
  for (const auto& golden : requests()) {
    CAPTURE(golden.name);
    CHECK(hex(encode(golden.message)) == golden.hex);
    const auto back = decode_request(bytes(golden.hex));
    REQUIRE(back.has_value());
    CHECK(*back == golden.message);
  }
  for (const auto& golden : replies()) {
    CAPTURE(golden.name);
    CHECK(hex(encode(golden.message)) == golden.hex);
    const auto back = decode_reply(bytes(golden.hex));
    REQUIRE(back.has_value());
    CHECK(*back == golden.message);
  }
}

TEST_CASE("fields appended by a later minor version are ignored, bin stands for str, integers for numbers") {
  CHECK(decode_request(bytes("95010205cd012ca3616263")).has_value());                    // Heartbeat and one more field
  CHECK(decode_request(bytes("9a0101c4016105a2703103c3a27067a168a173")).has_value());    // Hello, site as bin
  const auto delta = decode_request(bytes("9501030502919902a254310102030405" "00a0"));   // numbers as integers
  REQUIRE(delta.has_value());
  const auto& change = std::get<TxnChange>(std::get<Delta>(std::get<FromAgent>(*delta)).changes.at(0));
  CHECK(change.info.start == 1.0);
  CHECK(change.info.restarts == 5.0);
}

TEST_CASE("changes of older agents end before the appended fields") {
  const auto wait = decode_request(bytes("9501030501" "91" "9a0007a2543191a25432a16ba158a0009090"));
  REQUIRE(wait.has_value());
  const auto& changed = std::get<WaitChange>(std::get<Delta>(std::get<FromAgent>(*wait)).changes.at(0));
  CHECK(changed.wait.need == 0);
  CHECK(changed.wait.groups.empty());
  const auto group = decode_request(bytes("9501030501" "91" "950401a16ba15391a25432"));
  REQUIRE(group.has_value());
  CHECK(std::get<GroupChange>(std::get<Delta>(std::get<FromAgent>(*group)).changes.at(0)).kind == Kind::hard);
  // And one field more than this side knows.
  CHECK(decode_request(bytes("9501030501" "91" "970401a16ba15391a25432" "01" "05")).has_value());
}

TEST_CASE("an id may hold any bytes, and its length is checked") {
  const std::string nasty("\x00\xff\"\n", 4);
  const auto message = FromAgent(Delta{1, 1, {ForgetTxnChange{TxnId(nasty)}}});
  const auto back = decode_request(encode(Request(message)));
  REQUIRE(back.has_value());
  CHECK(*back == Request(message));
  CHECK(error_of(bytes("950103050191" "9203a0")).text == "Delta.changes[0].txn: transaction id is empty, expected 1 to 128 bytes");
  CHECK(error_of(bytes("950103050191" "9203d981") + std::string(129, 'x')).text ==
        "Delta.changes[0].txn: transaction id has 129 bytes, expected 1 to 128");
}

TEST_CASE("another version is told apart from garbage") {
  CHECK(error_of(bytes("94020205cd012c")).code == Error::Code::wrong_version);
  CHECK(error_of(bytes("94020205cd012c")).text == "protocol version 2, this side speaks version 1");
}

TEST_CASE("what is malformed is named") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "message: not msgpack within the limits"},
      {"93", "message: not msgpack within the limits"},
      {"c0", "message: expected an array [version, type, …]"},
      {"9101", "message: expected an array [version, type, …]"},
      {"9201a161", "message: expected a type code as second element"},
      {"92015f", "message: type 95 is none that a coordinator takes"},
      {"930102" "05", "Heartbeat: field 'number' is missing (element 3)"},
      {"940102a10505", "Heartbeat.incarnation: found a string, expected an unsigned integer"},
      {"94010205ff", "Heartbeat.number: found a negative integer, expected an unsigned integer"},
      {"94010205cd012c00", "message: 1 bytes after its end"},
      {"9501030501" "91" "9109", "Delta.changes[0]: found code 9, expected 0 to 7"},
      {"9501030501" "91" "9b0007a2543190a16ba158a0009090" "01", "Delta.changes[0].groups: found an integer, expected an array"},
      {"9501030501" "91" "9c0007a2543191a25432a16ba158a000909090" "02",
       "Delta.changes[0].need: 2 of 1 blockers can't be needed"},
      {"9501030501" "91" "9c0007a2543191a25432a16ba158a00090909101" "01",
       "Delta.changes[0].need: 1, but only a wait for all (0) names groups or soft blockers"},
      {"9501030501" "91" "9c0007a2543191a25432a16ba158a00091a25433" "9090" "01",
       "Delta.changes[0].need: 1, but only a wait for all (0) names groups or soft blockers"},
      {"9501030501" "91" "9c0007a2543191a25432a16ba158a000909090" "cf0000000100000000",
       "Delta.changes[0].need: found 4294967296, expected at most 4294967295"},
      {"9501030501" "91" "960401a16ba15391a2543202", "Delta.changes[0].kind: a group is hard (0) or soft (1), never dotted (2)"},
      {"9501030501" "91" "960401a16ba15391a2543203", "Delta.changes[0].kind: found 3, expected at most 2"},
      {"9501030501" "91" "05", "Delta.changes[0]: found an integer, expected a change"},
      {"95010604" "09" "a0", "Aborted.outcome: found 9, expected at most 3"},
      {"9501030501" "91" "9902a25431cb7ff8000000000000" "0000000000a0", "Delta.changes[0].start: is not a finite number"},
  };
  for (const auto& [hex_text, expected] : cases) {
    CAPTURE(hex_text);
    const auto error = error_of(bytes(hex_text));
    CHECK(error.code == Error::Code::malformed);
    CHECK(error.text.substr(0, std::string_view(expected).size()) == expected);
  }
}

TEST_CASE("a few bytes can't ask for much memory or deep nesting") {
  CHECK(error_of(bytes("ddffffffff")).code == Error::Code::malformed);
  CHECK(error_of(bytes("dbffffffff")).code == Error::Code::malformed);
  CHECK(error_of(std::string(1'000'000, '\x91')).code == Error::Code::malformed);
  CHECK(error_of(bytes("8101" "02")).code == Error::Code::malformed);  // maps are not spoken here
}

TEST_CASE("what is over a limit is named with the limit") {
  Limits limits;
  limits.text_bytes = 2;
  limits.changes_per_message = 1;
  limits.blockers_per_wait = 2;
  CHECK(error_of(encode(Request(FromAgent(Aborted{1, Aborted::Outcome::failed, "abc"}))), limits).text ==
        "Aborted.text: 3 bytes, at most 2 are allowed");
  const auto two = encode(Request(FromAgent(Delta{1, 1, {EndWaitChange{1}, EndWaitChange{2}}})));
  CHECK(error_of(two, limits).text == "Delta.changes: 2 elements, at most 1 are allowed");
  limits.text_bytes = 100;
  const auto wide = encode(Request(FromAgent(Delta{1, 1, {WaitChange{7, a_wait()}}})));
  CHECK(error_of(wide, limits).code == Error::Code::too_large);
  limits.groups_per_wait = 1;
  Wait grouped{TxnId("T1"), {}, "k", "X", "", {}, {GroupHandle{1}, GroupHandle{2}}};
  CHECK(error_of(encode(Request(FromAgent(Delta{1, 1, {WaitChange{7, grouped}}}))), limits).text ==
        "Delta.changes[0].groups: 2 elements, at most 1 are allowed");
  limits.message_bytes = 8;
  CHECK(error_of(wide, limits).text.find("at most 8 are allowed") != std::string::npos);
}

TEST_CASE("every truncation and every flipped byte of every message is refused or understood, never worse") {
  for (const auto& golden : requests()) {
    const auto whole = bytes(golden.hex);
    for (std::size_t n = 0; n < whole.size(); ++n) CHECK_FALSE(decode_request(whole.substr(0, n)).has_value());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      for (int value = 0; value < 256; ++value) {
        auto broken = whole;
        broken[i] = static_cast<char>(value);
        if (const auto result = decode_request(broken)) (void)encode(*result);
      }
    }
  }
}

TEST_CASE("a change never takes more bytes than size_bound says") {
  std::mt19937 random(1);
  const auto text = [&](std::size_t most) { return std::string(random() % (most + 1), 'x'); };
  for (int round = 0; round < 300; ++round) {
    Wait wait{TxnId("t" + text(127)), {}, text(300), text(20), text(1000), std::chrono::microseconds(random())};
    for (std::size_t i = random() % 50; i > 0; --i)
      wait.blockers.push_back({TxnId("b" + text(127)), static_cast<Kind>(random() % 3)});
    wait.groups.assign(random() % 9, GroupHandle{~0ULL});
    wait.need = random() % 2 == 0 ? 0 : ~0U;
    GroupChange group{GroupHandle{~0ULL}, text(300), text(20), {}, static_cast<Kind>(random() % 2)};
    for (const auto& blocker : wait.blockers) group.members.push_back(blocker.txn);
    TxnInfo info{1e300, -1, 1e9, 3, 4, TxnInfo::Class::never, text(500)};
    for (const Change& change : {Change(WaitChange{~0ULL, wait}), Change(EndWaitChange{~0ULL}), Change(TxnChange{wait.waiter, info}),
                                 Change(ForgetTxnChange{wait.waiter}), Change(group), Change(JoinChange{group.group, wait.waiter}),
                                 Change(LeaveChange{group.group, wait.waiter}), Change(EndGroupChange{group.group})}) {
      const auto frame = encode(Request(FromAgent(Delta{0, 0, {change}}))).size() - 6;
      CHECK(frame <= size_bound(change));
    }
  }
}
