// A lock agent's views as JSON text and back: what it answers to queries and `gordian locks --format json` prints.
// docs/cli.md describes the documents; bytes and numbers as in json.hpp. Pure, any thread; nothing throws.
#pragma once

#include <gordian/agent.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "admin/json.hpp"
#include "lease/records.hpp"
#include "lease/views.hpp"

namespace gordian::admin {

/// What a lock agent says of itself beside its counters.
struct NodeStatus {
  std::string site;
  std::string version;
  std::string coordinator;  ///< its endpoint; empty: none
  std::uint64_t epoch;      ///< of fences
  bool journal;
  AgentStatus agent;
  lease::ServerStatus locks;
  std::uint64_t waits_left_out;  ///< not reported for detection, or calls not in full: over limits
};

[[nodiscard]] std::string to_json(const lease::LocksView& view);
[[nodiscard]] std::string to_json(const lease::ForcedUnlock& done);
/// {"audit": […]} in the order given.
[[nodiscard]] std::string to_json(const std::vector<lease::AuditRecord>& audit);
[[nodiscard]] std::string to_json(const NodeStatus& status);

/// The arguments of queries; empty text is the default of each. An unknown key or a wrong type is refused.
[[nodiscard]] std::string to_json(const lease::LockSelection& selection);
[[nodiscard]] Parsed<lease::LockSelection> parse_lock_selection(std::string_view json);
struct ForceArgument {
  std::string name;
  std::string why;
  std::string by;
};
[[nodiscard]] std::string to_json(const ForceArgument& argument);
[[nodiscard]] Parsed<ForceArgument> parse_force(std::string_view json);

[[nodiscard]] Parsed<lease::LocksView> parse_locks(std::string_view json);
[[nodiscard]] Parsed<lease::ForcedUnlock> parse_forced(std::string_view json);
[[nodiscard]] Parsed<std::vector<lease::AuditRecord>> parse_audit(std::string_view json);

}  // namespace gordian::admin
