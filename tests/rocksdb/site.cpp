// One site with RocksDB, driven line by line: rocksdb_site SITE COORDINATOR FOLDER COMMANDS (a named pipe).
//
// A line is `NUMBER TXN COMMAND ARGUMENTS…`; each transaction has a thread of its own, so one may wait while others go on. The
// answer is `NUMBER RESULT` on stdout. Transaction `-` is the site itself.
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <thread>

#include "rocksdb/database.hpp"

namespace {

using gordian::rocksdb_agent::Database;
using gordian::rocksdb_agent::Error;
using gordian::rocksdb_agent::Share;
using gordian::rocksdb_agent::Transaction;
using Words = std::vector<std::string>;

void answer(const std::string& number, const std::string& text) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::printf("%s %s\n", number.c_str(), text.c_str());
  std::fflush(stdout);
}

std::string told(const Error& error) {
  switch (error.code) {
    case Error::Code::deadlock: return "deadlock " + error.incident;
    case Error::Code::timeout: return "timeout";
    case Error::Code::ended: return "ended";
    case Error::Code::invalid: return "invalid " + error.message;
    case Error::Code::rocksdb: break;
  }
  return "rocksdb " + error.message;
}
std::string told(const tl::expected<void, Error>& done) { return done ? "ok" : told(done.error()); }
std::string told(const tl::expected<std::optional<std::string>, Error>& value) {
  if (!value) return told(value.error());
  return *value ? "ok " + **value : "none";
}

class Client {
 public:
  Client(Database& database, std::string name) : database_(database), name_(std::move(name)), thread_([this] { work(); }) {}
  ~Client() {
    give({});
    thread_.join();
  }
  void give(Words words) {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(words));
    changed_.notify_one();
  }

 private:
  void work() {
    while (true) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !commands_.empty(); });
      const auto words = std::move(commands_.front());
      commands_.pop_front();
      lock.unlock();
      if (words.empty()) return;
      answer(words[0], obey(words));
    }
  }

  std::string obey(const Words& words) {
    const auto& command = words[2];
    if (command == "begin") {
      gordian::rocksdb_agent::TxnOptions options;
      options.info.start = std::stod(words[3]);
      if (words.size() > 4) options.lock_timeout = std::chrono::milliseconds(std::stoll(words[4]));
      auto begun = database_.begin(gordian::TxnId(name_), std::move(options));
      if (!begun) return told(begun.error());
      txn_.emplace(std::move(*begun));
      return "ok";
    }
    if (!txn_) return "not begun";
    if (command == "put") return told(txn_->put(words[3], words[4]));
    if (command == "erase") return told(txn_->erase(words[3]));
    if (command == "get") return told(txn_->get(words[3]));
    if (command == "lock") return told(txn_->get_for_update(words[3]));
    if (command == "share") return told(txn_->get_for_update(words[3], Share::shared));
    if (command == "commit") return told(txn_->commit());
    if (command == "rollback") return told(txn_->rollback());
    return "unknown command";
  }

  Database& database_;
  const std::string name_;
  std::optional<Transaction> txn_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Words> commands_;
  std::thread thread_;
};

/// What the site itself can be asked: its counts, and locks that are taken past the adapter.
std::string obey(Database& database, std::unique_ptr<rocksdb::Transaction>& stranger, const Words& words) {
  if (words[2] == "status") {
    const auto status = database.status();
    std::ostringstream text;
    text << "waits=" << status.waits << " done=" << status.aborts_done << " stale=" << status.aborts_stale
         << " failed=" << status.aborts_failed;
    return text.str();
  }
  if (words[2] == "stranger") {
    if (!stranger) stranger.reset(database.raw().BeginTransaction({}));
    return stranger->Put(words[3], "stranger").ToString();
  }
  if (words[2] == "stranger_ends") {
    const auto status = stranger->Rollback();
    stranger.reset();
    return status.ToString();
  }
  return "unknown command";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: rocksdb_site SITE COORDINATOR FOLDER COMMANDS\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { _exit(0); });  // with transactions that wait, there is no other end
  gordian::rocksdb_agent::Options options{
      .path = argv[3], .agent = {.coordinator = argv[2], .site = gordian::SiteId(argv[1]), .publish_after = {}}};
  options.engine.create_if_missing = true;
  options.on_log = [](gordian::AgentCallbacks::Level, std::string_view text) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  };
  auto database = Database::open(std::move(options));
  if (!database) {
    std::fprintf(stderr, "%s\n", database.error().message.c_str());
    return 2;
  }
  std::unique_ptr<rocksdb::Transaction> stranger;
  std::map<std::string, Client> clients;
  std::ifstream commands(argv[4]);
  for (std::string line; std::getline(commands, line);) {
    std::istringstream split(line);
    Words words{std::istream_iterator<std::string>(split), {}};
    if (words.size() < 3) continue;
    if (words[1] == "-") answer(words[0], obey(*database, stranger, words));
    else clients.try_emplace(words[1], *database, words[1]).first->second.give(std::move(words));
  }
  return 0;
}
