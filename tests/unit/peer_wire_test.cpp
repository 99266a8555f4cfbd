// The messages between coordinators on the wire: golden bytes (docs/protocol.md, "Between coordinators"), and what a hostile
// sender may try.
#include <doctest/doctest.h>

#include "hex.hpp"
#include "refused.hpp"
#include "wire/codec.hpp"

using namespace gordian;
using namespace gordian::wire;
using gordian::test::error_of;

namespace {

struct Golden {
  const char* name;
  PeerMessage message;
  const char* hex;
};

// Of member "m", instance 8, map 1: after the array's head and version comes the type, then a16d 08 01.
std::vector<Golden> messages() {
  const GlobalEdge first{TxnId("T1"), TxnId("T2"), SiteId("a"), 5, 7, 9, Kind::hard, 0, true, 300};
  const GlobalEdge second{TxnId("T2"), TxnId("T1"), SiteId("b"), 6, 8, 3, Kind::soft, 2, false, 0};
  const Described described{TxnId("T1"), SiteId("a"), {}};
  const TxnId t1("T1"), t2("T2");
#define FIRST "9aa25431a25432a1610507090000c3cd012c"
#define SECOND "9aa25432a25431a1620608030102c200"
#define DESCRIBED "99a25431a161c00000000000a0"
  return {
      {"PeerHello", PeerHello{true, {1, 5}}, "970160" "a16d0801" "c3920105"},
      {"Probe", Probe{2, true, t2, {first}}, "990161" "a16d0801" "02c3a25432" "91" FIRST},
      {"Suspect", Suspect{{first, second}}, "960162" "a16d0801" "92" FIRST SECOND},
      {"Poke", Poke{t1}, "960163" "a16d0801" "a25431"},
      {"Gather", Gather{4, {t1, t2}}, "970164" "a16d0801" "04" "92a25431a25432"},
      {"Gathered", Gathered{4, true, {first}, {described}}, "990165" "a16d0801" "04c3" "91" FIRST "91" DESCRIBED},
      {"Reserve", Reserve{6, {t1}}, "970166" "a16d0801" "06" "91a25431"},
      {"Reserved", Reserved{6, true, {described}, {{SiteId("a"), 7, "k", "X", "sql", 300}}},
       "990167" "a16d0801" "06c3" "91" DESCRIBED "91" "96a16107a16ba158a373716ccd012c"},
      {"FreeBranches", FreeBranches{6, t1, "m-1-1", "why", {SiteId("a")}},
       "9a0168" "a16d0801" "06a25431" "a56d2d312d31" "a3776879" "91a161"},
      {"BranchesFree", BranchesFree{6, t1}, "970169" "a16d0801" "06a25431"},
      {"Release", Release{6}, "96016a" "a16d0801" "06"},
  };
#undef FIRST
#undef SECOND
#undef DESCRIBED
}

}  // namespace

TEST_CASE("every message between coordinators has the bytes that docs/protocol.md describes, and comes back as it was") {
  for (const auto& golden : messages()) {
    CAPTURE(golden.name);
    const FromPeer message{"m", 8, 1, golden.message};
    CHECK(hex(encode(message)) == golden.hex);
    CHECK(hex(encode(Request(message))) == golden.hex);
    const auto back = decode_request(bytes(golden.hex));
    REQUIRE(back.has_value());
    CHECK(*back == Request(message));
  }
}

TEST_CASE("what agents are told of the map") {
  const Reply welcome = ToAgent(Welcome{2, 500, 3000, "m", {1, {{"m", "e"}, {"n", "f"}}}});
  CHECK(hex(encode(welcome)) == "98011102cd01f4cd0bb8" "a16d" "01" "92" "92a16da165" "92a16ea166");
  CHECK(*decode_reply(encode(welcome)) == welcome);
  const Reply ack = ToAgent(HeartbeatAck{2, 300, 1});
  CHECK(hex(encode(ack)) == "95011202cd012c01");
  CHECK(*decode_reply(encode(ack)) == ack);
}

TEST_CASE("what is malformed between coordinators is named") {
  const std::pair<const char*, const char*> cases[] = {
      {"930160a16d", "FromPeer: field 'instance' is missing"},
      {"9501600108" "01", "FromPeer.member: found an integer, expected a string"},
      {"950163" "a16d0801", "Poke: field 'txn' is missing"},
      {"960163" "a16d0801" "a0", "Poke.txn: transaction id is empty"},
      {"960162" "a16d0801" "05", "Suspect.cycle: found an integer, expected an array"},
      {"960162" "a16d0801" "9105", "Suspect.cycle: found an integer"},
      {"960162" "a16d0801" "91" "99a25431a25432a1610507090900c3", "Suspect.cycle.kind: found 9, expected at most 2"},
      {"960162" "a16d0801" "91" "92a25431a25432", "Suspect.cycle: field 'site' is missing"},
  };
  for (const auto& [hex_text, expected] : cases) {
    CAPTURE(hex_text);
    const auto error = error_of(bytes(hex_text));
    CHECK(error.code == Error::Code::malformed);
    CHECK_MESSAGE(error.text.starts_with(expected), error.text);
  }
}

TEST_CASE("lists between coordinators have limits") {
  Probe probe{1, false, TxnId("T"), {}};
  probe.path.assign(PeerLimits{}.gathered_edges + 1, GlobalEdge{TxnId("T"), TxnId("U"), SiteId("a"), 1, 1, 1});
  const auto error = error_of(encode(FromPeer{"m", 1, 1, probe}));
  CHECK(error.code == Error::Code::too_large);
  CHECK_MESSAGE(error.text.starts_with("Probe.path: 25001 elements, at most"), error.text);
  CHECK(error_of(bytes("960162" "a16d0801" "ddffffffff")).code == Error::Code::malformed);
}

TEST_CASE("every truncation and every flipped byte of a message between coordinators is refused or understood") {
  for (const auto& golden : messages()) {
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
