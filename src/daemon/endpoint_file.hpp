// The file with a service's endpoint, for scripts that let it take a free port; gone when the program ends.
#pragma once

#include <filesystem>
#include <string>

namespace gordian::daemon {

class EndpointFile {
 public:
  /// Readers see the whole content or no file. An empty path: no file. Throws std::filesystem::filesystem_error.
  EndpointFile(std::filesystem::path path, const std::string& endpoint);
  EndpointFile(const EndpointFile&) = delete;
  EndpointFile& operator=(const EndpointFile&) = delete;
  ~EndpointFile();

 private:
  std::filesystem::path path_;
};

}  // namespace gordian::daemon
