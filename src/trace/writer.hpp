// Writes the lines of a wait-for trace (docs/trace-format.md), as the reader reads them; for `gordiand --record`.
//
// Each function returns one line with its newline. JSON is text, while ids are bytes: a byte that is no UTF-8 is written
// as "\xNN" (text/text.hpp), and an id that gets too long by that as its beginning with a hash. Different ids stay different.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <span>
#include <string>
#include <string_view>

namespace gordian::trace {

/// Attributes that are unknown (no start, zero, empty) are left out.
[[nodiscard]] std::string begin_line(const TxnId& txn, const TxnInfo& info);

/// One wait. In a trace it replaces the transaction's wait with the same site and resource, so a recorder
/// that may see two such waits at once gives them different resources.
struct WaitLine {
  TxnId txn;
  std::span<const TxnId> holders;      ///< `for`
  std::span<const TxnId> behind = {};  ///< queued ahead; left out if empty
  std::uint32_t need = 0;              ///< how many of `holders`; 0: all, left out. Not with `behind` or `for_holders`
  bool for_holders = false;            ///< whoever holds the resource (holders_line): `for` is left out
  bool dotted = false;                 ///< the kind of `holders`
  SiteId site;
  std::string_view resource;
  std::string_view mode = {};  ///< left out if empty
};
[[nodiscard]] std::string wait_line(const WaitLine& wait);
/// From now on exactly these hold the resource.
[[nodiscard]] std::string holders_line(const SiteId& site, std::string_view resource, std::span<const TxnId> txns);
[[nodiscard]] std::string unwait_line(const TxnId& txn, const SiteId& site, std::string_view resource);
[[nodiscard]] std::string end_line(const TxnId& txn);
[[nodiscard]] std::string lost_line(const SiteId& site);

}  // namespace gordian::trace
