// One client of the stress test, on the C++ lock client. lock_worker.py is the same in Python and describes the arguments;
// history.py the log that it writes, store.py the store that it asks.
//
//   lock_worker AGENTS STORE LOG SEED TTL_MS PAUSES RESOURCES
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <gordian/lock_client.hpp>
#include <random>
#include <stdexcept>

namespace {

using namespace gordian;
using std::chrono::milliseconds;

std::atomic<bool> ended = false;

double now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

/// A file that lines are written to, one system call each: they are in the kernel's hands before the program goes on.
class Log {
 public:
  explicit Log(const char* path) : file_(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    if (file_ < 0) throw std::runtime_error(fmt::format("cannot write to {}", path));
  }
  void write(std::string_view what, double time, std::string_view rest = {}) const {
    const std::string line = fmt::format("{} {:.6f}{}{}\n", what, time, rest.empty() ? "" : " ", rest);
    if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw std::runtime_error("the log is full");
  }

 private:
  int file_;
};

/// The guarded store, one line each way.
class Store {
 public:
  explicit Store(const char* path) : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::string_view(path).copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error(fmt::format("cannot reach the store at {}", path));
    }
  }
  std::string ask(const std::string& question) const {
    const std::string line = question + '\n';
    if (::write(socket_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      throw std::runtime_error("the store is gone");
    std::string answer;
    for (char byte = 0; byte != '\n';) {
      const ssize_t got = read(socket_, &byte, 1);
      if (got < 0 && errno == EINTR) continue;  // SIGTERM, under a sanitizer
      if (got != 1) break;
      if (byte != '\n') answer += byte;
    }
    if (answer.empty()) throw std::runtime_error("the store is gone");
    return answer;
  }

 private:
  int socket_;
};

struct Settings {
  Log log;
  Store store;
  milliseconds ttl;
  unsigned pauses;  ///< of a million writes
  unsigned resources;
};

/// One after the other, all with the same session until that is lost.
class Worker {
 public:
  Worker(Settings& settings, LockSession& session, std::mt19937& random, unsigned& count)
      : settings_(settings), session_(session), random_(random), count_(count) {}

  void run_transaction() {
    const std::string name = fmt::format("cpp-{}-{}", getpid(), ++count_);
    ClientTxnOptions options;
    options.id = TxnId(name);
    auto txn = session_.begin(std::move(options));
    if (!txn) return;
    if (const auto error = work(*txn, name); error && error->code == LockError::Code::lease_lost) {
      settings_.log.write("lost", now(), fmt::format("{} lease_lost", name));
    }
    settings_.log.write("end", now(), name);
    static_cast<void>(txn->end());  // it fails if the lease is over: nothing to release then
  }

 private:
  [[nodiscard]] unsigned below(unsigned limit) {
    return std::uniform_int_distribution<unsigned>(0, limit - 1)(random_);
  }

  std::vector<unsigned> choose() {
    std::vector<unsigned> all(settings_.resources);
    for (unsigned place = 0; place < settings_.resources; ++place) all[place] = place;
    std::shuffle(all.begin(), all.end(), random_);
    all.resize(1 + below(3));
    return all;
  }

  std::optional<LockError> work(LockTransaction& txn, const std::string& name) {
    for (const unsigned number : choose()) {
      if (auto error = use(txn, name, fmt::format("r{}", number))) return error;
    }
    if (below(10) < 3) settings_.log.write("keep", now(), fmt::format("{:.6f}", now() + seconds(session_.remaining())));
    return std::nullopt;
  }

  std::optional<LockError> use(LockTransaction& txn, const std::string& name, const std::string& resource) {
    bool exclusive = below(3) != 0;
    auto grant = lock(txn, name, resource, exclusive);
    if (grant && below(10) == 0) {
      const auto again = lock(txn, name, resource, exclusive);
      if (!again) return again.error();
      settings_.log.write("release", now(), fmt::format("{} {} {}", name, resource, exclusive ? "X" : "S"));
      if (auto undone = txn.unlock(*again); !undone) return undone.error();
    }
    if (grant && !exclusive && below(10) < 3) {
      exclusive = true;
      grant = lock(txn, name, resource, exclusive);
    }
    if (!grant) return grant.error();
    return exclusive ? add_one(resource, grant->fence) : std::nullopt;
  }

  tl::expected<Grant, LockError> lock(LockTransaction& txn, const std::string& name, const std::string& resource,
                                      bool exclusive) {
    constexpr std::array waits{milliseconds(0), milliseconds(0), milliseconds(500), milliseconds(2000)};
    AcquireOptions options;
    if (const milliseconds wait = waits[below(waits.size())]; wait.count() != 0) options.wait = wait;
    const char* mode = exclusive ? "X" : "S";
    settings_.log.write("ask", now(), fmt::format("{} {} {}", name, resource, mode));
    auto grant = txn.lock(resource, exclusive ? modes::X : modes::S, options);
    const double stamp = now();
    if (grant) {
      const Fence& fence = grant->fence;
      settings_.log.write("grant", stamp,
                          fmt::format("{} {} {} {} {} {:.6f}", name, resource, mode, fence.epoch, fence.counter,
                                      stamp + seconds(session_.remaining())));
    } else {
      settings_.log.write("fail", stamp, fmt::format("{} {}", name, gordian::name(grant.error().code)));
    }
    return grant;
  }

  std::optional<LockError> add_one(const std::string& resource, const Fence& fence) {
    const std::string answer = settings_.store.ask(fmt::format("read {} {} {}", resource, fence.epoch, fence.counter));
    if (answer == "stale") return std::nullopt;
    const std::string value = answer.substr(3);  // behind "ok "
    if (session_.remaining().count() == 0) return LockError{LockError::Code::lease_lost, "seen before the write", {}};
    if (below(1'000'000) < settings_.pauses) {
      settings_.log.write("pause", now(), fmt::format("{} {}", resource, value));
      raise(SIGSTOP);  // just after the check: only the fence can help now
    }
    settings_.store.ask(fmt::format("write {} {} {} {}", resource, value, fence.epoch, fence.counter));
    return std::nullopt;
  }

  Settings& settings_;
  LockSession& session_;
  std::mt19937& random_;
  unsigned& count_;
};

void run(char** arguments) {
  auto agents = AgentAddress::parse_list(arguments[1]);
  if (!agents) throw std::runtime_error(agents.error());
  LockClientOptions options;
  options.agents = *agents;
  options.label = fmt::format("worker {}", getpid());
  auto client = LockClient::start(std::move(options));
  if (!client) throw std::runtime_error(client.error().message);

  const auto number = [&](int place) { return static_cast<unsigned>(std::strtoul(arguments[place], nullptr, 10)); };
  Settings settings{Log(arguments[3]), Store(arguments[2]), milliseconds(number(5)), number(6), number(7)};
  std::mt19937 random(number(4));
  unsigned count = 0;
  while (!ended) {
    settings.log.write("session", now());
    SessionOptions session_options;
    session_options.ttl = settings.ttl;
    auto session = client->open(std::move(session_options));
    if (!session) throw std::runtime_error(session.error().message);
    Worker worker(settings, *session, random, count);
    while (!ended && !session->lost()) worker.run_transaction();
    static_cast<void>(session->close());
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 8) {
    fmt::print(stderr, "usage: lock_worker AGENTS STORE LOG SEED TTL_MS PAUSES RESOURCES\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { ended = true; });
  try {
    run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "lock_worker: {}\n", error.what());
    return 1;
  }
  return 0;
}
