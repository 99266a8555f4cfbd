#include "rocksdb/database.hpp"

#include <utility>

#include "rocksdb/lock_gate.hpp"
#include "rocksdb/waits.hpp"

namespace gordian::rocksdb_agent {
namespace {

using ::rocksdb::Slice;
using ::rocksdb::Status;
using Nothing = tl::expected<void, Error>;
using Value = tl::expected<std::optional<std::string>, Error>;

Error invalid(std::string message) { return {Error::Code::invalid, std::move(message), {}, Status::InvalidArgument()}; }

Error of(const Branch& branch, const Status& status) {
  if (status.IsTimedOut())
    return {Error::Code::timeout,
            "transaction " + branch.id.str() + " did not get its lock in time: " + status.ToString() +
                "; roll it back and run it again, or raise lock_timeout",
            {},
            status};
  return {Error::Code::rocksdb, "transaction " + branch.id.str() + ": RocksDB says " + status.ToString(), {}, status};
}

Slice slice(std::string_view text) { return {text.data(), text.size()}; }

/// The user's thread takes the branch for one call. Errors: why it must not.
Nothing take(Branch& branch) {
  const std::lock_guard lock(branch.mutex);
  if (branch.error) return tl::unexpected(*branch.error);
  branch.busy = true;
  return {};
}

/// And gives it back, unless it was condemned meanwhile: then its locks are free on return.
Nothing give_back(Branch& branch) {
  {
    const std::lock_guard lock(branch.mutex);
    if (!branch.error) {
      branch.busy = false;
      return {};
    }
  }
  roll_back(branch);
  const std::lock_guard lock(branch.mutex);
  return tl::unexpected(*branch.error);
}

/// One call to RocksDB that may have to wait.
template <class Call>
Nothing run(Branch& branch, Call call) {
  if (auto taken = take(branch); !taken) return taken;
  Status status;
  {
    const CallingFor calling(branch);
    status = call(*branch.txn);
  }
  if (branch.gate) branch.waits.waits_no_longer(branch);  // set by this thread, so it may look without the mutex
  if (auto given = give_back(branch); !given) return given;
  if (!status.ok()) return tl::unexpected(of(branch, status));
  return {};
}

/// The same for a reading call, where a key that is not there is an answer.
template <class Call>
Value read(Branch& branch, Call call) {
  std::optional<std::string> value;
  auto done = run(branch, [&](::rocksdb::Transaction& txn) {
    const auto status = call(txn, &value.emplace());
    if (!status.IsNotFound()) return status;
    value.reset();
    return Status::OK();
  });
  if (!done) return tl::unexpected(std::move(done.error()));
  return value;
}

Nothing count_write(Branch& branch, Nothing done) {
  if (done) branch.writes.fetch_add(1, std::memory_order_relaxed);
  return done;
}

/// Its calls fail from now on, and it is idle.
void end(Branch& branch) {
  const std::lock_guard lock(branch.mutex);
  if (!branch.error)
    branch.error = Error{Error::Code::ended,
                         "transaction " + branch.id.str() + " has ended; begin another one",
                         {},
                         Status::Aborted("ended")};
  branch.busy = false;
}

/// However it stands: afterwards its locks are free.
void abandon(Branch& branch) {
  {
    std::unique_lock lock(branch.mutex);
    branch.idle.wait(lock, [&] { return !branch.busy; });
    if (!branch.txn) return;
    branch.busy = true;
  }
  roll_back(branch);
  end(branch);
}

}  // namespace

// --- Transaction ---

Transaction::Transaction(std::shared_ptr<Branch> branch) noexcept : branch_(std::move(branch)) {}
Transaction::Transaction(Transaction&&) noexcept = default;
Transaction& Transaction::operator=(Transaction&& other) noexcept {
  if (branch_ && branch_ != other.branch_) abandon(*branch_);
  branch_ = std::move(other.branch_);
  return *this;
}
Transaction::~Transaction() {
  if (branch_) abandon(*branch_);
}

const TxnId& Transaction::id() const { return branch_->id; }

Value Transaction::get(std::string_view key, Family family) {
  return read(*branch_, [&](auto& txn, std::string* value) {
    return family != nullptr ? txn.Get({}, family, slice(key), value) : txn.Get({}, slice(key), value);
  });
}

Value Transaction::get_for_update(std::string_view key, Share share, Family family) {
  const bool exclusive = share == Share::exclusive;
  auto value = read(*branch_, [&](auto& txn, std::string* found) {
    return family != nullptr ? txn.GetForUpdate({}, family, slice(key), found, exclusive)
                             : txn.GetForUpdate({}, slice(key), found, exclusive);
  });
  if (!exclusive) branch_->waits.shared(family != nullptr ? family->GetID() : 0, key);
  return value;
}

Nothing Transaction::put(std::string_view key, std::string_view value, Family family) {
  return count_write(*branch_, run(*branch_, [&](auto& txn) {
    return family != nullptr ? txn.Put(family, slice(key), slice(value)) : txn.Put(slice(key), slice(value));
  }));
}

Nothing Transaction::erase(std::string_view key, Family family) {
  return count_write(*branch_, run(*branch_, [&](auto& txn) {
    return family != nullptr ? txn.Delete(family, slice(key)) : txn.Delete(slice(key));
  }));
}

Nothing Transaction::commit() {
  auto& branch = *branch_;
  if (auto taken = take(branch); !taken) return taken;
  if (!branch.waits.lets_go(branch)) return give_back(branch);
  const auto status = branch.txn->Commit();
  branch.txn.reset();  // RocksDB gives the locks back even if it could not commit
  branch.waits.leave(branch);
  end(branch);
  if (!status.ok()) return tl::unexpected(of(branch, status));
  return {};
}

Nothing Transaction::rollback() {
  abandon(*branch_);
  return {};
}

// --- Database ---

class Database::Impl {
 public:
  Impl(const Options& options)
      : site_(options.agent.site), lock_timeout_(options.lock_timeout), waits_(options.agent.site, options.on_log) {}

  Nothing open(Options options) {
    options.locking.custom_mutex_factory = make_gates();
    auto families = options.column_families;
    if (families.empty()) families.emplace_back(::rocksdb::kDefaultColumnFamilyName, options.engine);
    ::rocksdb::TransactionDB* opened = nullptr;
    const auto status =
        ::rocksdb::TransactionDB::Open(options.engine, options.locking, options.path, families, &families_, &opened);
    db_.reset(opened);
    if (!status.ok())
      return tl::unexpected(
          Error{Error::Code::rocksdb, options.path + " cannot be opened: " + status.ToString(), {}, status});

    AgentCallbacks callbacks;
    callbacks.on_abort = [this](const AbortOrder& order, const AbortAnswer& answer) {
      waits_.carry_out(order, answer);
    };
    callbacks.on_log = options.on_log;
    options.agent.engine = "rocksdb";
    auto agent = Agent::start(std::move(options.agent), std::move(callbacks));
    if (!agent) return tl::unexpected(invalid(agent.error().message));
    waits_.attach(std::move(*agent));
    return {};
  }

  ~Impl() {
    waits_.detach();
    for (auto* family : families_) db_->DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }

  tl::expected<std::shared_ptr<Branch>, Error> begin(const TxnId& id, TxnOptions options) {
    ::rocksdb::TransactionOptions how;
    how.lock_timeout = options.lock_timeout.value_or(lock_timeout_).count();
    how.deadlock_detect = false;
    if (how.lock_timeout < 1) return tl::unexpected(invalid("lock_timeout is less than 1 ms"));
    auto branch = std::make_shared<Branch>(waits_, id, std::move(options.info), db_->BeginTransaction({}, how));
    // Not SetName: where the commit of a named transaction fails, RocksDB 7.8 forgets the name twice, and aborts the process.
    if (!waits_.enter(branch))
      return tl::unexpected(
          invalid("transaction " + id.str() + " is running at site " + site_.str() + " already; end it first"));
    return branch;
  }

  [[nodiscard]] ::rocksdb::TransactionDB& db() const { return *db_; }
  [[nodiscard]] const std::vector<::rocksdb::ColumnFamilyHandle*>& families() const { return families_; }
  [[nodiscard]] AgentStatus status() const { return waits_.status(); }

 private:
  const SiteId site_;
  const std::chrono::milliseconds lock_timeout_;
  Waits waits_;
  std::unique_ptr<::rocksdb::TransactionDB> db_;
  std::vector<::rocksdb::ColumnFamilyHandle*> families_;
};

tl::expected<Database, Error> Database::open(Options options) {
  if (options.locking.custom_mutex_factory || options.locking.lock_mgr_handle)
    return tl::unexpected(
        invalid("locking.custom_mutex_factory and locking.lock_mgr_handle must be empty: the agent sees waits "
                "through the first, and range locks are not supported"));
  if (options.lock_timeout.count() < 1) return tl::unexpected(invalid("lock_timeout is less than 1 ms"));
  auto impl = std::make_unique<Impl>(options);
  if (auto opened = impl->open(std::move(options)); !opened) return tl::unexpected(std::move(opened.error()));
  return Database(std::move(impl));
}

Database::Database(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Database::Database(Database&&) noexcept = default;
Database& Database::operator=(Database&&) noexcept = default;
Database::~Database() = default;

tl::expected<Transaction, Error> Database::begin(const TxnId& id, TxnOptions options) {
  return impl_->begin(id, std::move(options)).map([](std::shared_ptr<Branch> branch) {
    return Transaction(std::move(branch));
  });
}
::rocksdb::TransactionDB& Database::raw() const { return impl_->db(); }
const std::vector<::rocksdb::ColumnFamilyHandle*>& Database::column_families() const { return impl_->families(); }
AgentStatus Database::status() const { return impl_->status(); }

}  // namespace gordian::rocksdb_agent
