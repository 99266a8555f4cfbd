// The program's log on stderr: one line per message, as text or as JSON, whatever bytes the message contains.
#pragma once

#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace gordian::daemon {

/// `level`: debug, info, warn, error; `format`: text or json. Thread-safe.
[[nodiscard]] std::shared_ptr<spdlog::logger> make_log(const std::string& program, const std::string& level,
                                                       const std::string& format);

}  // namespace gordian::daemon
