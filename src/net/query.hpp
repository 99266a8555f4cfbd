// Asks a coordinator or a lock agent one question over ZeroMQ, for command-line programs.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace gordian::net {

struct QueryError {
  enum class Code { unreachable, refused, bad_endpoint };
  Code code;
  std::string message;
};

/// Who is asked, for messages.
struct Asked {
  std::string service = "coordinator";
  std::string program = "gordiand";
  std::string option = "--coordinator, GORDIAN_COORDINATOR";
};

/// Blocks until the answer (JSON text) is there or `timeout` has passed. `argument` is a JSON object or empty.
[[nodiscard]] tl::expected<std::string, QueryError> query(const std::string& endpoint, std::string_view what,
                                                          std::string_view argument, std::chrono::milliseconds timeout,
                                                          const Asked& asked = {});

}  // namespace gordian::net
