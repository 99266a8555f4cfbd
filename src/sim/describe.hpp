// Messages as one line for the log of a replayed run.
#pragma once

#include <string>

#include "wire/lock_messages.hpp"
#include "wire/messages.hpp"
#include "wire/peer_messages.hpp"

namespace gordian::sim {

[[nodiscard]] std::string describe(const wire::FromAgent& message);
[[nodiscard]] std::string describe(const wire::ToAgent& message);
[[nodiscard]] std::string describe(const wire::PeerMessage& message);
[[nodiscard]] std::string describe(const wire::FromLockClient& message);
[[nodiscard]] std::string describe(const wire::ToLockClient& message);

}  // namespace gordian::sim
