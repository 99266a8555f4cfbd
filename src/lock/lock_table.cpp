// The public handles: each function passes on to the table.
#include <gordian/lock_table.hpp>
#include <utility>

#include "lock/table.hpp"

namespace gordian {

std::string_view name(LockError::Code code) {
  switch (code) {
    case LockError::Code::deadlock: return "deadlock";
    case LockError::Code::timeout: return "timeout";
    case LockError::Code::cancelled: return "cancelled";
    case LockError::Code::lease_lost: return "lease_lost";
    case LockError::Code::refused: return "refused";
    case LockError::Code::wounded: return "wounded";
    case LockError::Code::out_of_order: return "out_of_order";
    case LockError::Code::limit: return "limit";
    case LockError::Code::not_held: return "not_held";
    case LockError::Code::invalid: return "invalid";
    case LockError::Code::forced: return "forced";
    case LockError::Code::unreachable: return "unreachable";
  }
  return "unknown";
}

std::string_view name(Strategy strategy) {
  switch (strategy) {
    case Strategy::detect: return "detect";
    case Strategy::timeout: return "timeout";
    case Strategy::no_wait: return "no_wait";
    case Strategy::wait_die: return "wait_die";
    case Strategy::wound_wait: return "wound_wait";
    case Strategy::ordered: return "ordered";
  }
  return "unknown";
}

LockTxn::LockTxn(LockTxn&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}

LockTxn& LockTxn::operator=(LockTxn&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

LockTxn::~LockTxn() {
  if (core_ == nullptr) return;
  core_->table.end(*core_);
  core_->unref();
}

tl::expected<LockAnswer, LockError> LockTxn::lock(std::string_view key, Mode mode, const LockOptions& options) {
  return core_->table.lock(*core_, key, mode, options);
}
tl::expected<LockAnswer, LockError> LockTxn::lock_path(std::string_view path, Mode mode, const LockOptions& options) {
  return core_->table.lock_path(*core_, path, mode, options);
}
tl::expected<LockManyAnswer, LockError> LockTxn::lock_all(std::span<const LockItem> items, const LockOptions& options) {
  return core_->table.lock_all(*core_, items, options);
}
tl::expected<LockManyAnswer, LockError> LockTxn::lock_some(std::span<const LockItem> items, std::size_t need,
                                                           const LockOptions& options) {
  return core_->table.lock_some(*core_, items, need, options);
}
tl::expected<void, LockError> LockTxn::unlock(std::string_view key) { return core_->table.unlock(*core_, key); }
tl::expected<void, LockError> LockTxn::unlock_path(std::string_view path) {
  return core_->table.unlock_path(*core_, path);
}
tl::expected<void, LockError> LockTxn::downgrade(std::string_view key, Mode mode) {
  return core_->table.downgrade(*core_, key, mode);
}
bool LockTxn::cancel(Ticket ticket) { return core_->table.cancel(*core_, ticket); }
void LockTxn::release_all() { core_->table.end(*core_); }
void LockTxn::restart(TxnOptions options) { core_ = core_->table.restart(core_, std::move(options)); }

const TxnId& LockTxn::id() const { return core_->options.id; }

std::size_t LockTxn::held() const {
  const lock::Guard guard(core_->lock);
  return core_->held.size();
}

std::optional<LockError> LockTxn::error() const {
  const lock::Guard guard(core_->lock);
  return core_->doom ? std::optional(*core_->doom) : std::nullopt;
}

LockTable::LockTable(LockTableOptions options) : table_(std::make_unique<lock::Table>(std::move(options))) {}
LockTable::~LockTable() = default;

LockTxn LockTable::begin(TxnOptions options) { return LockTxn(table_->begin(std::move(options))); }

namespace {

LockError deadlock(const TxnId& txn, std::string_view incident) {
  return {LockError::Code::deadlock,
          "transaction " + txn.str() + " was aborted to break a deadlock (incident " + std::string(incident) +
              "); its locks are released, start it again",
          std::string(incident)};
}

}  // namespace

bool LockTable::abort(const TxnId& txn, std::string_view incident, std::optional<WaitNumber> waiting) {
  return table_->abort(txn, deadlock(txn, incident), waiting);
}

bool LockTable::abort_holder(const TxnId& txn, std::string_view incident, std::string_view key, std::uint64_t step) {
  return table_->abort_holder(txn, deadlock(txn, incident), key, step);
}

bool LockTable::lose_lease(const TxnId& txn, std::string_view why) {
  return table_->abort(
      txn,
      {LockError::Code::lease_lost, "the session of transaction " + txn.str() + " is over: " + std::string(why), {}},
      std::nullopt);
}

bool LockTable::advance(std::string_view key, WaitNumber wait, const TxnId& ahead_of) {
  return table_->advance(key, wait, ahead_of);
}

void LockTable::expire(Micros now) { table_->expire(now); }
Micros LockTable::next_deadline() const { return table_->next_deadline(); }

std::vector<BlockerView> LockTable::blockers(std::string_view key, WaitNumber wait) const {
  std::vector<BlockerView> blockers;
  table_->look(key, [&](const lock::Shard& shard, const lock::Head& head) {
    if (const lock::Request* request = shard.find_wait(head, wait)) blockers = shard.blockers(head, *request);
  });
  return blockers;
}

bool LockTable::waits(std::string_view key, WaitNumber wait) const {
  bool waits = false;
  table_->look(
      key, [&](const lock::Shard& shard, const lock::Head& head) { waits = shard.find_wait(head, wait) != nullptr; });
  return waits;
}

bool LockTable::held_since(std::string_view key, const TxnId& txn, std::uint64_t step) const {
  bool held = false;
  table_->look(key,
               [&](const lock::Shard& shard, const lock::Head& head) { held = shard.held_since(head, txn, step); });
  return held;
}

std::optional<ResourceView> LockTable::resource(std::string_view key) const {
  std::optional<ResourceView> view;
  table_->look(key, [&](const lock::Shard& shard, const lock::Head& head) { view = shard.view(head); });
  return view;
}

std::vector<ResourceView> LockTable::resources() const { return table_->resources(); }
const ModeMatrix& LockTable::modes() const { return table_->modes(); }
std::string LockTable::check_invariants() const { return table_->check_invariants(); }

}  // namespace gordian
