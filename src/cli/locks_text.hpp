// What lock agents hold as text for people: tables, and the tree of who waits for whom. Pure; JSON is admin's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lease/records.hpp"
#include "lease/views.hpp"

namespace gordian::cli {

/// One line for each holder and each waiter, by resource.
[[nodiscard]] std::string locks_table(const std::vector<lease::LocksView>& views, std::int64_t now_unix_us);

/// Transactions that wait for nobody, under each those that wait for it, and so on; a circle is cut and marked.
[[nodiscard]] std::string locks_tree(const std::vector<lease::LocksView>& views, std::int64_t now_unix_us);

[[nodiscard]] std::string audit_table(const std::vector<lease::AuditRecord>& audit);

}  // namespace gordian::cli
