#include "daemon/endpoint_file.hpp"

#include <fstream>

namespace gordian::daemon {

EndpointFile::EndpointFile(std::filesystem::path path, const std::string& endpoint) : path_(std::move(path)) {
  if (path_.empty()) return;
  auto temporary = path_;
  temporary += ".new";
  std::ofstream file(temporary);
  file << endpoint << "\n" << std::flush;
  if (!file)
    throw std::filesystem::filesystem_error("cannot write", temporary, std::make_error_code(std::errc::io_error));
  std::filesystem::rename(temporary, path_);
}

EndpointFile::~EndpointFile() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

}  // namespace gordian::daemon
