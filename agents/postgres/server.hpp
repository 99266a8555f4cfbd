// The server as a whole: may the agent work there, and what is a person to do if not.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "postgres/connection.hpp"

namespace gordian::postgres {

struct ServerFacts {
  std::string version;  ///< as the server writes it, such as "15.5"
  bool superuser = false;
  bool may_signal = false;  ///< may cancel and terminate other users' sessions
};

/// Prepares the session and checks the version and the role's rights. Errors say what is missing and how to grant it.
[[nodiscard]] tl::expected<ServerFacts, ServerError> examine(Connection& connection);

/// What to do about a connection that failed with this message, as one sentence.
[[nodiscard]] std::string_view advice(std::string_view message);

}  // namespace gordian::postgres
