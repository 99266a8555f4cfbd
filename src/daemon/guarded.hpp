// The last line of defence of a service program: whatever it throws becomes a log line and an exit code.
#pragma once

#include <functional>

namespace spdlog {
class logger;
}

namespace gordian::daemon {

/// What `serve` returns; 2 if a file that it names cannot be written, 1 after any other exception.
[[nodiscard]] int guarded(spdlog::logger& log, const std::function<int()>& serve);

}  // namespace gordian::daemon
