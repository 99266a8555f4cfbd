// The lock protocol's bytes (docs/lock-protocol.md): golden messages, round trips, and what a hostile sender may try.
#include <doctest/doctest.h>

#include <random>

#include "hex.hpp"
#include "wire/codec.hpp"

using namespace gordian;
using namespace gordian::wire;

namespace {

const RequestId id{7, 2, 1};
const TxnId txn("T1");

struct Golden {
  const char* name;
  FromLockClient message;
  const char* hex;
};
std::vector<Golden> requests() {
  return {
      {"OpenSession", OpenSession{7, 1000, 0, "c"}, "9601400" "7cd03e800a163"},
      {"Renew", Renew{3, {7, 300}}, "9401410392" "07cd012c"},
      {"CloseSession", CloseSession{7}, "93014207"},
      {"lock", Requests{{LockRequest{id, txn, 1.5, 300, LockRequest::Scheme::all, 1, {{"r", "X"}}}}},
       "930143919a00070201a25431cb3ff8000000000000cd012c00019192a172a158"},
      {"lock without end, no start", Requests{{LockRequest{id, txn, {}, {}, LockRequest::Scheme::some, 2, {{"a", "S"}, {"b", "X"}}}}},
       "930143919a00070201a25431c0c002029292a161a15392a162a158"},
      {"unlock", Requests{{UnlockRequest{id, txn, "r", {1, 5}, true}}}, "930143919901070201a25431a1720105c3"},
      {"downgrade", Requests{{DowngradeRequest{id, txn, "r", "S"}}}, "930143919702070201a25431a172a153"},
      {"end and cancel", Requests{{EndRequest{id, txn}, CancelRequest{id, 1}}}, "930143929503070201a25431950407020101"},
      {"begin", Requests{{BeginRequest{id, txn, {}, 0, 0, "wait_die", "l"}}},
       "930143919a05070201a25431c00000a8776169745f646965a16c"},
      {"reclaim", Requests{{ReclaimRequest{id, txn, {}, {{"r", "X", 2, {1, 5}}}}}}, "930143919706070201a25431c09195a172a158020105"},
  };
}

struct GoldenReply {
  const char* name;
  LockClientInput message;
  const char* hex;
};
std::vector<GoldenReply> replies() {
  return {
      {"SessionOpened", ToLockClient(SessionOpened{7, 4, 1000, 0}), "96015007" "04cd03e800"},
      {"Renewed", ToLockClient(Renewed{3, 4, {300}}), "950151030491cd012c"},
      {"SessionEnded", ToLockClient(SessionEnded{7, SessionEnded::Why::expired, "e"}), "9501520701a165"},
      {"Replies", ToLockClient(Replies{{{7, 2, LockStatus::done, {{0, {1, 5}}}, "", ""}, {7, 3, LockStatus::deadlock, {}, "t", "1-1"}}}),
       "930153929607020091930001" "05a0a09607030290a174a3312d31"},
      {"TxnAborted", ToLockClient(TxnAborted{7, txn, LockStatus::forced, "t", ""}), "97015407a254310ca174a0"},
      {"TxnAborted after a request", ToLockClient(TxnAborted{7, txn, LockStatus::forced, "t", "", 300}), "98015407a254310ca174a0cd012c"},
      {"Answer", Answer{1, true, "{}"}, "95012101c3a27b7d"},
  };
}

}  // namespace

TEST_CASE("lock protocol: golden bytes, both ways") {
  for (const auto& [name, message, expected] : requests()) {
    CAPTURE(name);
    const auto bytes = encode(message);
    CHECK(hex(bytes) == expected);
    const auto read = decode_lock_request(bytes);
    REQUIRE(read);
    CHECK(std::get<FromLockClient>(*read) == message);
  }
  for (const auto& [name, message, expected] : replies()) {
    CAPTURE(name);
    const auto bytes = encode(message);
    CHECK(hex(bytes) == expected);
    const auto read = decode_lock_reply(bytes);
    REQUIRE(read);
    CHECK(*read == message);
  }
}

TEST_CASE("lock protocol: names are any bytes; what is unknown at the end is passed over") {
  const std::string name("\x00\xff\x80 ", 4);
  const auto bytes = encode(FromLockClient(Requests{{LockRequest{id, txn, {}, {}, LockRequest::Scheme::all, 1, {{name, "X"}}}}}));
  const auto read = decode_lock_request(bytes);
  REQUIRE(read);
  const auto& request = std::get<LockRequest>(std::get<Requests>(std::get<FromLockClient>(*read)).requests.front());
  CHECK(request.items.front().name == name);
  const auto newer = decode_lock_request(std::string("\x94\x01\x42\x07\x08", 5));  // CloseSession with a field more
  REQUIRE(newer);
  CHECK(std::get<CloseSession>(std::get<FromLockClient>(*newer)).session == 7);
}

TEST_CASE("lock protocol: what is wrong is named, with its place") {
  const auto text = [](std::string_view bytes) {
    const auto read = decode_lock_request(bytes);
    REQUIRE_FALSE(read);
    return read.error().text;
  };
  CHECK(text(std::string("\x92\x01\x42", 3)).find("CloseSession: field 'session' is missing") != std::string::npos);
  CHECK(text(std::string("\x93\x01\x43\x91\x92\x09\x07", 7)).find("Requests.requests: found code 9") != std::string::npos);
  CHECK(text(std::string("\x93\x01\x05\x07", 4)).find("type 5 is none that a lock agent takes") != std::string::npos);
  const auto large = encode(FromLockClient(Requests{{UnlockRequest{id, txn, std::string(1 << 20, 'n'), {}, false}}}));
  const auto refused = decode_lock_request(large);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Error::Code::too_large);
  LockRequest many{id, txn, {}, {}, LockRequest::Scheme::all, 1, {}};
  many.items.resize(LockWireLimits{}.items_per_request + 1, {"r", "X"});
  CHECK(decode_lock_request(encode(FromLockClient(Requests{{many}}))).error().code == Error::Code::too_large);
}

TEST_CASE("lock protocol: random and cut messages are refused or read, and nothing else") {
  std::mt19937_64 random(1);
  for (const auto& [name, message, unused] : requests()) {
    const auto bytes = encode(message);
    for (std::size_t length = 0; length < bytes.size(); ++length) CHECK_FALSE(decode_lock_request(bytes.substr(0, length)));
    for (int round = 0; round < 2000; ++round) {
      auto changed = bytes;
      changed[random() % changed.size()] = static_cast<char>(random());
      if (const auto read = decode_lock_request(changed))  // then it is a message, and stays one
        if (const auto* known = std::get_if<FromLockClient>(&*read)) CHECK(decode_lock_request(encode(*known)));
    }
  }
}
