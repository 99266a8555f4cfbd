#include "daemon/guarded.hpp"

#include <spdlog/spdlog.h>

#include <exception>
#include <filesystem>

namespace gordian::daemon {

int guarded(spdlog::logger& log, const std::function<int()>& serve) {
  constexpr int fault = 1, bad_input = 2;
  try {
    return serve();
  } catch (const std::filesystem::filesystem_error& error) {
    log.error("endpoint file: {}; name a file in a directory that can be written (--endpoint-file)", error.what());
    return bad_input;
  } catch (const std::exception& error) {
    log.critical("stopped by a fault: {}", error.what());
    return fault;
  }
}

}  // namespace gordian::daemon
