// What a guarded resource does with fences: it remembers the largest one it has seen, and refuses whoever comes with less.
//
// A lock service cannot stop a paused process from going on after its lease ran out; the resource can. Put the guard where the
// resource's writes are decided, and make the check and the write one step. docs/fences.md has the same for SQL.
#pragma once

#include <cstddef>
#include <functional>
#include <gordian/lock_table.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace gordian {

/// A holder who came with a fence that is older than one seen before.
struct StaleFence {
  Fence given;
  Fence seen;           ///< the largest so far
  std::string message;  ///< what, where, and what to do
};

/// Thread-safe. Keeps one fence for each name ever admitted, about 100 bytes each, up to `names_max`.
class FenceGuard {
 public:
  explicit FenceGuard(std::size_t names_max = 1'000'000);
  FenceGuard(FenceGuard&&) noexcept;
  FenceGuard& operator=(FenceGuard&&) noexcept;
  ~FenceGuard();

  /// Runs `write` if `fence` is not older than the largest one seen for `name`, while nobody else may write under that name;
  /// `write` may throw and then nothing was admitted. Errors: StaleFence (also for a new name beyond `names_max`: the message
  /// says so, and for (0, 0), which is no fence). Cost: one hash, two short locks. `write` must not admit under the same name.
  tl::expected<void, StaleFence> admit(std::string_view name, Fence fence, const std::function<void()>& write = {});

  /// The largest fence seen.
  [[nodiscard]] std::optional<Fence> seen(std::string_view name) const;
  /// Called at start with what was stored durably beside the resource: a guard that forgets admits stale holders.
  void restore(std::string_view name, Fence fence);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian
