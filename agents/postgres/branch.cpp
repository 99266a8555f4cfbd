#include "postgres/branch.hpp"

namespace gordian::postgres {

std::string to_text(const Branch& branch) {
  if (branch.prepared()) return "prepared transaction '" + branch.gid + "'";
  return "session " + std::to_string(branch.pid);
}

}  // namespace gordian::postgres
