// Many sessions move money between accounts whose locks are spread over several gordian-agents, taken in any order: deadlocks
// across the agents, which `gordiand` breaks. Victims are run again, and no money is lost.
//
//   transfers SITE=ENDPOINT,SITE=ENDPOINT,... [SECONDS [SESSIONS [ACCOUNTS]]]
//
// Prints a line of JSON with its counters every 0.2 s, and a last one with the total of all accounts before and after. Exit codes: 0
// fine, 1 money was lost or made, 2 wrong usage, 3 a lock could not be taken for another reason than a deadlock or a time limit.
// scripts/demo runs it.
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <gordian/lock_client.hpp>
#include <iterator>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

using namespace std::chrono_literals;
using gordian::LockError;
using Clock = std::chrono::steady_clock;

constexpr long first_balance = 1000;
constexpr auto report_every = 200ms;
constexpr auto wait_limit = 5s;  // longer than any deadlock may stand

std::atomic<bool> stopped{false};

/// What the locks protect: read, and written later, by whoever holds the lock. Two at a time would lose an update.
class Accounts {
 public:
  explicit Accounts(std::size_t count) : balances_(count) {
    for (auto& balance : balances_) balance = first_balance;
  }
  [[nodiscard]] std::size_t count() const { return balances_.size(); }
  [[nodiscard]] static std::string name(std::size_t account) { return "account/" + std::to_string(account); }
  [[nodiscard]] long read(std::size_t account) const { return balances_[account]; }
  void write(std::size_t account, long balance) { balances_[account] = balance; }
  [[nodiscard]] long total() const { return std::accumulate(balances_.begin(), balances_.end(), 0L); }

 private:
  std::vector<std::atomic<long>> balances_;  // atomic only so that a lost update is nothing worse
};

class Counters {
 public:
  void commit() { ++committed_; }
  void abort(LockError::Code why) {
    const std::lock_guard lock(mutex_);
    ++aborted_[std::string(gordian::name(why))];
  }
  /// Without the closing brace.
  std::string json(double seconds) {
    const std::lock_guard lock(mutex_);
    std::string reasons;
    for (const auto& [why, count] : aborted_)
      reasons += (reasons.empty() ? "\"" : ", \"") + why + "\": " + std::to_string(count);
    return "{\"seconds\": " + std::to_string(seconds) + ", \"committed\": " + std::to_string(committed_) +
           ", \"aborted\": {" + reasons + "}";
  }

 private:
  std::atomic<unsigned> committed_{0};
  std::mutex mutex_;
  std::map<std::string, unsigned> aborted_;
};

/// One session: transfers one after the other.
class Teller {
 public:
  Teller(gordian::LockClient& client, Accounts& accounts, Counters& counters, unsigned number)
      : client_(client), accounts_(accounts), counters_(counters), number_(number), random_(number) {}

  void work_until(Clock::time_point end) {
    auto session = client_.open();
    if (!session) throw std::runtime_error(session.error().message);
    while (!stopped && Clock::now() < end) insist(*session, choose());
    (void)session->close();
  }

 private:
  using Transfer = std::array<std::size_t, 3>;  // the first gives to the others

  Transfer choose() {
    std::vector<std::size_t> all(accounts_.count());
    std::iota(all.begin(), all.end(), 0);
    Transfer chosen{};
    std::sample(all.begin(), all.end(), chosen.begin(), chosen.size(), random_);
    std::shuffle(chosen.begin(), chosen.end(), random_);
    return chosen;
  }

  /// Runs it until it commits. A victim keeps its first start: it grows older than the others, and wins some day.
  void insist(gordian::LockSession& session, const Transfer& transfer) {
    const std::string name = "T" + std::to_string(number_) + "." + std::to_string(++transfers_);
    gordian::ClientTxnOptions options{.id = gordian::TxnId(name), .label = "teller " + std::to_string(number_)};
    for (unsigned attempts = 1;; ++options.restarts) {
      auto txn = session.begin(options);
      if (!txn) throw std::runtime_error(txn.error().message);
      options.start = txn->start();
      const auto done = attempt(*txn, transfer);
      if (done) return counters_.commit();
      const auto code = done.error().code;
      counters_.abort(code);
      if (code != LockError::Code::deadlock && code != LockError::Code::timeout)
        throw std::runtime_error(done.error().message);
      options.id = gordian::TxnId(name + "/" + std::to_string(++attempts));
    }
  }

  tl::expected<void, LockError> attempt(gordian::LockTransaction& txn, const Transfer& transfer) {
    std::array<long, std::tuple_size_v<Transfer>> balances{};
    for (std::size_t i = 0; i < transfer.size(); ++i) {
      const auto grant = txn.lock(Accounts::name(transfer[i]), gordian::modes::X, {.wait = wait_limit});
      if (!grant) return tl::unexpected(grant.error());
      balances[i] = accounts_.read(transfer[i]);
    }
    const long amount = static_cast<long>(random_() % 100);
    accounts_.write(transfer[0], balances[0] - 2 * amount);
    accounts_.write(transfer[1], balances[1] + amount);
    accounts_.write(transfer[2], balances[2] + amount);
    (void)txn.end();  // the leases see to it if an agent does not answer
    return {};
  }

  gordian::LockClient& client_;
  Accounts& accounts_;
  Counters& counters_;
  const unsigned number_;
  unsigned transfers_ = 0;
  std::mt19937 random_;
};

std::size_t number(const char* text, std::size_t least) {
  char* end = nullptr;
  const auto value = std::strtoull(text, &end, 10);
  if (*end != '\0' || value < least || value > 100'000)
    throw std::invalid_argument("'" + std::string(text) + "' is no number from " + std::to_string(least) +
                                " to 100000");
  return value;
}

int run(std::vector<gordian::AgentAddress> agents, std::chrono::seconds seconds, std::size_t sessions,
        std::size_t count) {
  auto client = gordian::LockClient::start({.agents = std::move(agents), .label = "transfers"});
  if (!client) throw std::invalid_argument(client.error().message);
  Accounts accounts(count);
  Counters counters;
  const long before = accounts.total();
  const auto begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };

  std::vector<std::future<void>> tellers;
  for (unsigned number = 1; number <= sessions; ++number)
    tellers.push_back(std::async(std::launch::async, [&, number] {
      try {
        Teller(*client, accounts, counters, number).work_until(begin + seconds);
      } catch (...) {
        stopped = true;
        throw;
      }
    }));
  for (auto& teller : tellers)
    while (teller.wait_for(report_every) != std::future_status::ready) {
      std::printf("%s}\n", counters.json(elapsed()).c_str());
      std::fflush(stdout);
    }
  for (auto& teller : tellers) teller.get();

  const long after = accounts.total();
  std::printf("%s, \"total_before\": %ld, \"total_after\": %ld}\n", counters.json(elapsed()).c_str(), before, after);
  return before == after ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 5) {
    std::fprintf(stderr, "usage: transfers SITE=ENDPOINT,SITE=ENDPOINT,... [SECONDS [SESSIONS [ACCOUNTS]]]\n");
    return 2;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stopped = true; });
  try {
    auto agents = gordian::AgentAddress::parse_list(argv[1]);
    if (!agents) throw std::invalid_argument(agents.error());
    return run(std::move(*agents), std::chrono::seconds(argc > 2 ? number(argv[2], 1) : 10),
               argc > 3 ? number(argv[3], 1) : 16, argc > 4 ? number(argv[4], 3) : 48);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "transfers: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "transfers: %s\n", error.what());
    return 3;
  }
}
