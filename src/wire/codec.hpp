// Messages to bytes and back: msgpack arrays [version, type, fields…], as docs/protocol.md and docs/lock-protocol.md describe them.
//
// Decoding never trusts its input: lengths, nesting and sizes are bounded before anything is allocated for them, and every
// error says which field of which message was wrong. Pure functions, safe from any thread. Cost: O(bytes).
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "wire/lock_messages.hpp"
#include "wire/messages.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::wire {

/// What a coordinator receives, and what it sends.
using Request = std::variant<FromAgent, Query, FromPeer>;
using Reply = std::variant<ToAgent, Answer>;

[[nodiscard]] std::string encode(const Request& message);
[[nodiscard]] std::string encode(const Reply& message);
[[nodiscard]] std::string encode(const FromPeer& message);

/// The error is what is to be sent back to the sender: malformed, wrong_version or too_large.
[[nodiscard]] tl::expected<Request, Error> decode_request(std::string_view bytes, const Limits& limits = {});
[[nodiscard]] tl::expected<Reply, Error> decode_reply(std::string_view bytes, const Limits& limits = {});

// The lock service's: what an agent receives and sends, and what its client does.
[[nodiscard]] std::string encode(const FromLockClient& message);
[[nodiscard]] std::string encode(const LockClientInput& message);
[[nodiscard]] tl::expected<LockServerInput, Error> decode_lock_request(std::string_view bytes,
                                                                       const Limits& limits = {});
[[nodiscard]] tl::expected<LockClientInput, Error> decode_lock_reply(std::string_view bytes, const Limits& limits = {});

/// About how many bytes a change takes on the wire; never less than the real number.
[[nodiscard]] std::size_t size_bound(const Change& change);

}  // namespace gordian::wire
