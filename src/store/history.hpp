// What a coordinator must not forget: incidents, its terms (epochs), and which sites it knew. One SQLite file
// in WAL mode, with tables that can be read with `sqlite3` while the coordinator runs.
//
// Not thread-safe: one owner, one thread. No function throws. Several processes may open one file (epochs
// stay unique).
#pragma once

#include <cstdint>
#include <filesystem>
#include <gordian/ids.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/views.hpp"
#include "store/error.hpp"

namespace gordian::store {

class History {
 public:
  static constexpr std::size_t default_incidents_max = 100'000;

  /// Opens the file, or makes it if it does not exist or is empty. A file that is not a Gordian history, is
  /// damaged, or was written by a newer Gordian is refused and not touched. Cost: reads the file once to see
  /// that it is sound.
  [[nodiscard]] static Result<History> open(const std::filesystem::path& file,
                                            std::size_t incidents_max = default_incidents_max);
  History(History&&) noexcept;
  History& operator=(History&&) noexcept;
  ~History();

  /// A number larger than all before; on disk when this returns.
  [[nodiscard]] Result<std::uint64_t> next_epoch();

  /// Adds the incident, or replaces the one with its id. Beyond `incidents_max` the oldest are deleted.
  /// Survives the end of this process; the last few may be lost if the machine loses power. Cost: well below
  /// a millisecond.
  Result<void> put(const coordinator::Incident& incident);
  /// Newest first; with `id` only that one (empty if there is none).
  [[nodiscard]] Result<std::vector<coordinator::Incident>> list(std::size_t limit,
                                                                const std::optional<std::string>& id = {}) const;

  /// A site that has reported to this coordinator, or one before it.
  Result<void> remember(const SiteId& site);
  Result<void> forget(const SiteId& site);
  /// Ordered by id.
  [[nodiscard]] Result<std::vector<SiteId>> sites() const;

 private:
  class Impl;
  explicit History(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian::store
