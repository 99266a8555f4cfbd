// The wire's decoders under any bytes: each takes them or says why not, and what one takes survives being sent on.
#include "target.hpp"
#include "wire/codec.hpp"

namespace {

using namespace gordian;
using fuzz::require;

/// By bytes, not by value: an attribute may be NaN, which equals nothing.
template <class Decode>
void comes_back_as_it_was(std::string_view bytes, Decode decode) {
  const auto message = decode(bytes);
  if (!message) {
    require(!message.error().text.empty(), "a refusal says why");
    return;
  }
  const auto sent = wire::encode(*message);
  const auto again = decode(sent);
  require(again.has_value(), "what was decoded is decoded again");
  require(wire::encode(*again) == sent, "what was decoded is the same after being sent on");
}

// LockServerInput has no encoder of its own: clients send its halves.
void lock_request_comes_back(std::string_view bytes) {
  const auto message = wire::decode_lock_request(bytes);
  if (!message) return;
  const auto* request = std::get_if<wire::FromLockClient>(&*message);
  if (request == nullptr) return;  // a Query is a coordinator's request, too
  const auto sent = wire::encode(*request);
  const auto again = wire::decode_lock_request(sent);
  require(again.has_value(), "a lock request that was decoded is decoded again");
  require(wire::encode(std::get<wire::FromLockClient>(*again)) == sent, "a lock request stays the same");
}

/// size_bound() promises never to be less than what the change takes: batches are cut by it.
void changes_are_within_their_bounds(std::string_view bytes) {
  const auto message = wire::decode_request(bytes);
  if (!message) return;
  const auto* request = std::get_if<wire::FromAgent>(&*message);
  const auto* delta = request == nullptr ? nullptr : std::get_if<wire::Delta>(request);
  if (delta == nullptr) return;
  const auto size = [](wire::Delta d) { return wire::encode(wire::Request(wire::FromAgent(std::move(d)))).size(); };
  const auto empty = size({delta->incarnation, delta->number, {}});
  for (const auto& change : delta->changes)
    require(size({delta->incarnation, delta->number, {change}}) - empty <= wire::size_bound(change),
            "a change takes no more bytes than size_bound() says");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::text_of({data, size});
  comes_back_as_it_was(bytes, [](std::string_view b) { return wire::decode_request(b); });
  comes_back_as_it_was(bytes, [](std::string_view b) { return wire::decode_reply(b); });
  comes_back_as_it_was(bytes, [](std::string_view b) { return wire::decode_lock_reply(b); });
  lock_request_comes_back(bytes);
  changes_are_within_their_bounds(bytes);
  return 0;
}
