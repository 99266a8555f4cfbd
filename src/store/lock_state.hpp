// What a lock server must not forget: its epoch and the longest lease it granted; with a journal also everything held; and what
// administrators did by force. One SQLite file, locked while an agent runs: two with one file would give out the same fences.
//
// Not thread-safe: one owner, one thread. No function throws.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "lease/records.hpp"
#include "store/error.hpp"

namespace gordian::store {

class LockState {
 public:
  /// Opens the file, or makes it. Errors: another process has it open; not such a file, damaged, of a newer Gordian.
  [[nodiscard]] static Result<LockState> open(const std::filesystem::path& file);
  LockState(LockState&&) noexcept;
  LockState& operator=(LockState&&) noexcept;
  ~LockState();

  struct Start {
    std::uint64_t epoch;  ///< larger than that of every start before
    lease::Durable found;
  };
  /// A server starts; on disk when this returns. Without `journal` what an earlier one wrote of held locks is dropped.
  [[nodiscard]] Result<Start> start(bool journal);
  /// All of them in one transaction; on disk when this returns. Cost: one fsync.
  Result<void> write(std::span<const lease::Record> records);
  /// The server stops; `clean`: nothing is held.
  Result<void> stopped(bool clean);
  /// Newest first.
  [[nodiscard]] Result<std::vector<lease::AuditRecord>> audit(std::size_t limit) const;

 private:
  class Impl;
  explicit LockState(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::store
