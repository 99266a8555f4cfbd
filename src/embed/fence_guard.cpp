// FenceGuard: one fence per name, each with a mutex of its own, so that a write keeps back only those of its own name.
#include <gordian/fence_guard.hpp>
#include <mutex>
#include <unordered_map>

namespace gordian {

class FenceGuard::Impl {
 public:
  explicit Impl(std::size_t names_max) : names_max_(names_max) {}

  tl::expected<void, StaleFence> admit(std::string_view name, Fence fence, const std::function<void()>& write) {
    if (fence == Fence{})
      return tl::unexpected(StaleFence{fence, {}, "the fence (0, 0) is none: take the lock, and hand on Grant::fence"});
    Entry* entry = find_or_add(name);
    if (entry == nullptr)
      return tl::unexpected(StaleFence{fence,
                                       {},
                                       "the guard keeps " + std::to_string(names_max_) +
                                           " names already, its limit; construct it with a larger names_max"});
    const std::lock_guard lock(entry->mutex);
    if (fence < entry->seen)
      return tl::unexpected(StaleFence{fence, entry->seen,
                                       "fence " + text(fence) + " is older than " + text(entry->seen) +
                                           ", which was seen already: the lock has passed on; take it again"});
    if (write) write();
    entry->seen = fence;
    return {};
  }

  [[nodiscard]] std::optional<Fence> seen(std::string_view name) {
    Entry* entry = find(name);
    if (entry == nullptr) return std::nullopt;
    const std::lock_guard lock(entry->mutex);
    return entry->seen == Fence{} ? std::nullopt : std::optional(entry->seen);
  }

  void restore(std::string_view name, Fence fence) {
    Entry* entry = add(name);
    const std::lock_guard lock(entry->mutex);
    entry->seen = std::max(entry->seen, fence);
  }

 private:
  struct Entry {
    std::mutex mutex;
    Fence seen{};  // guarded by mutex; (0, 0): nobody was admitted yet
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept { return std::hash<std::string_view>{}(name); }
  };

  static std::string text(Fence fence) {
    return "(" + std::to_string(fence.epoch) + ", " + std::to_string(fence.counter) + ")";
  }

  Entry* find(std::string_view name) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(name);
    return found != entries_.end() ? &found->second : nullptr;
  }
  Entry* find_or_add(std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (const auto found = entries_.find(name); found != entries_.end()) return &found->second;
    return entries_.size() < names_max_ ? &entries_[std::string(name)] : nullptr;
  }
  Entry* add(std::string_view name) {
    const std::lock_guard lock(mutex_);
    return &entries_[std::string(name)];
  }

  const std::size_t names_max_;
  std::mutex mutex_;
  // Guarded by mutex_; entries stay where they are, and are never removed.
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> entries_;
};

FenceGuard::FenceGuard(std::size_t names_max) : impl_(std::make_unique<Impl>(names_max)) {}
FenceGuard::FenceGuard(FenceGuard&&) noexcept = default;
FenceGuard& FenceGuard::operator=(FenceGuard&&) noexcept = default;
FenceGuard::~FenceGuard() = default;

tl::expected<void, StaleFence> FenceGuard::admit(std::string_view name, Fence fence,
                                                 const std::function<void()>& write) {
  return impl_->admit(name, fence, write);
}
std::optional<Fence> FenceGuard::seen(std::string_view name) const { return impl_->seen(name); }
void FenceGuard::restore(std::string_view name, Fence fence) { impl_->restore(name, fence); }

}  // namespace gordian
