// What the agent is told while a commit is under way: that nobody waits for it any more comes before its locks are free.
//
// The database's log is a file that the test can hold up and make fail. No coordinator is needed: the agent's own count of
// waits is what it would answer.
#include <doctest/doctest.h>
#include <rocksdb/file_system.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "rocksdb/database.hpp"

using namespace gordian;
using namespace gordian::rocksdb_agent;

namespace {

/// While closed, whoever writes to the log waits; then it goes on, or fails.
struct Valve {
  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false, reached = false, fail = false;

  ::rocksdb::IOStatus pass() {
    std::unique_lock lock(mutex);
    reached |= closed;
    changed.notify_all();
    changed.wait(lock, [this] { return !closed; });
    return fail ? ::rocksdb::IOStatus::IOError("as the test wants it") : ::rocksdb::IOStatus::OK();
  }
  void close() {
    const std::lock_guard lock(mutex);
    closed = true, reached = false;
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, std::chrono::seconds(20), [this] { return reached; }));
  }
  void open(bool failing) {
    const std::lock_guard lock(mutex);
    closed = false, fail = failing;
    changed.notify_all();
  }
};

class Log : public ::rocksdb::FSWritableFileOwnerWrapper {
 public:
  Log(std::unique_ptr<::rocksdb::FSWritableFile>&& file, Valve& valve)
      : FSWritableFileOwnerWrapper(std::move(file)), valve_(valve) {}
  using FSWritableFileOwnerWrapper::Append;
  ::rocksdb::IOStatus Append(const ::rocksdb::Slice& data, const ::rocksdb::IOOptions& options,
                             ::rocksdb::IODebugContext* debug) override {
    auto passed = valve_.pass();
    return passed.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : passed;
  }

 private:
  Valve& valve_;
};

class Files : public ::rocksdb::FileSystemWrapper {
 public:
  explicit Files(Valve& valve) : FileSystemWrapper(::rocksdb::FileSystem::Default()), valve_(valve) {}
  const char* Name() const override { return "valve"; }
  ::rocksdb::IOStatus NewWritableFile(const std::string& name, const ::rocksdb::FileOptions& options,
                                      std::unique_ptr<::rocksdb::FSWritableFile>* file,
                                      ::rocksdb::IODebugContext* debug) override {
    auto made = FileSystemWrapper::NewWritableFile(name, options, file, debug);
    if (made.ok() && name.ends_with(".log")) *file = std::make_unique<Log>(std::move(*file), valve_);
    return made;
  }

 private:
  Valve& valve_;
};

/// Waits for the agent to know so many waits.
void wait_for_waits(const Database& database, std::size_t count) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (database.status().waits != count && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  REQUIRE(database.status().waits == count);
}

struct Scene {
  std::filesystem::path folder;
  Valve valve;
  std::unique_ptr<::rocksdb::Env> env;
  std::optional<Database> database;

  Scene() {
    std::string pattern = std::filesystem::temp_directory_path() / "gordian-rocksdb-XXXXXX";
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
    env = ::rocksdb::NewCompositeEnv(std::make_shared<Files>(valve));
    Options options{.path = folder, .agent = {.coordinator = "ipc://" + pattern + "/nobody", .site = SiteId("s")}};
    options.engine.create_if_missing = true;
    options.engine.env = env.get();
    auto opened = Database::open(std::move(options));
    REQUIRE(opened);
    database.emplace(std::move(*opened));
  }
  ~Scene() {
    database.reset();
    std::filesystem::remove_all(folder);
  }
  Transaction begin(const char* id) {
    auto txn = database->begin(TxnId(id));
    REQUIRE(txn);
    return std::move(*txn);
  }
  /// One of its own thread, which writes `k`.
  std::future<bool> writer(const char* id) {
    return std::async(std::launch::async, [this, id] { return begin(id).put("k", "v").has_value(); });
  }
};

}  // namespace

TEST_CASE("nobody waits for a transaction that commits, though its locks are not free yet") {
  Scene s;
  auto holder = s.begin("T1");
  REQUIRE(holder.put("k", "v"));
  auto waiting = s.writer("T2");
  wait_for_waits(*s.database, 1);
  s.valve.close();
  auto commit = std::async(std::launch::async, [&] { return holder.commit(); });
  s.valve.wait_until_reached();
  CHECK(s.database->status().waits == 0);
  CHECK(waiting.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);

  // Who comes now has to wait for the lock as well, but not for T1, which can't wait for anybody.
  auto late = s.database->begin(TxnId("T3"), {.info = {}, .lock_timeout = std::chrono::milliseconds(20)});
  REQUIRE(late);
  auto put = std::async(std::launch::async, [&] { return late->put("k", "v"); });
  std::size_t waits = 0;
  while (put.wait_for(std::chrono::milliseconds(1)) == std::future_status::timeout) waits = std::max(waits, s.database->status().waits);
  CHECK(put.get().error().code == Error::Code::timeout);
  CHECK(waits == 0);

  s.valve.open(false);
  CHECK(commit.get());
  CHECK(waiting.get());
}

TEST_CASE("a commit that fails ends the transaction: its locks are free, and its calls say so") {
  Scene s;
  auto holder = s.begin("T1");
  REQUIRE(holder.put("k", "v"));
  auto waiting = s.writer("T2");
  wait_for_waits(*s.database, 1);
  s.valve.open(true);
  const auto done = holder.commit();
  REQUIRE(!done);
  CHECK(done.error().code == Error::Code::rocksdb);
  CHECK(done.error().status.IsIOError());
  CHECK(waiting.get());
  CHECK(holder.put("k", "v").error().code == Error::Code::ended);
  CHECK(holder.rollback());
  s.begin("T1");  // its id is free
}

TEST_CASE("options that the agent cannot work with are refused, and say why") {
  Options options{.path = "/nowhere/at/all", .agent = {.site = SiteId("s")}};
  CHECK(Database::open(options).error().message.starts_with("/nowhere/at/all cannot be opened: "));
  options.lock_timeout = {};
  CHECK(Database::open(options).error().message == "lock_timeout is less than 1 ms");
  options.locking.lock_mgr_handle.reset(::rocksdb::NewRangeLockManager(nullptr));
  CHECK(Database::open(options).error().message.starts_with("locking.custom_mutex_factory and locking.lock_mgr_handle must be"));
}
