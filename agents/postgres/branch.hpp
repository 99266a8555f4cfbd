// A branch: one transaction's presence at this server, told apart from all others that ever were there.
//
// A session's branch is named by pid + backend_start + xact_start: a pid may be used again, and a session runs many
// transactions. A prepared transaction's is named by gid + the time of its preparation.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace gordian::postgres {

struct Branch {
  int pid = 0;                        ///< 0: prepared
  std::int64_t backend_start_us = 0;  ///< Unix microseconds
  /// Unix microseconds; of a prepared transaction its preparation; 0: the session is outside a transaction and holds
  /// an advisory lock of its own.
  std::int64_t xact_start_us = 0;
  std::string gid;  ///< of a prepared transaction

  [[nodiscard]] bool prepared() const { return pid == 0; }

  friend bool operator==(const Branch&, const Branch&) = default;
  friend auto operator<=>(const Branch&, const Branch&) = default;
};

/// "session 4711" or "prepared transaction 'gid'", for messages.
[[nodiscard]] std::string to_text(const Branch& branch);

}  // namespace gordian::postgres
