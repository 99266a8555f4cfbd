// How long a deadlock of many takes: rings of 2 to 32 transactions over random sites of eight lock agents, from the closing request to
// the victim's error, with several coordinators that share the graph next to one alone, in the same run and in turn.
//
// Real processes on loopback (ipc): gordiands, gordian-agents; this process is the client of all transactions. Each ring must
// have exactly one victim.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <numeric>
#include <optional>
#include <random>

#include "net/query.hpp"
#include "services.hpp"
#include "program.hpp"

namespace gordian::bench {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t agents = 8;

/// What the transactions of one ring were told.
class Answers {
 public:
  explicit Answers(std::size_t count) : answers_(count) {}
  void tell(std::size_t who, tl::expected<Grant, LockError> answer) {
    const std::lock_guard lock(mutex_);
    answers_[who] = {Clock::now(), std::move(answer)};
    news_.notify_all();
  }
  /// When the first one was the victim of a deadlock, and who.
  std::pair<std::size_t, Clock::time_point> first_victim() {
    std::unique_lock lock(mutex_);
    std::size_t who = 0;
    const bool found = news_.wait_for(lock, give_up_after, [&] {
      for (who = 0; who < answers_.size(); ++who)
        if (victim(who)) return true;
      return false;
    });
    if (!found) fail("a ring of " + std::to_string(answers_.size()) + " was not broken within 10 s");
    return {who, answers_[who]->first};
  }
  /// Waits for this one's answer: was it a victim? None: no answer within 10 s.
  std::optional<bool> was_victim(std::size_t who) {
    std::unique_lock lock(mutex_);
    if (!news_.wait_for(lock, give_up_after, [&] { return answers_[who].has_value(); })) return std::nullopt;
    return victim(who);
  }

 private:
  [[nodiscard]] bool victim(std::size_t who) const {
    return answers_[who] && !answers_[who]->second && answers_[who]->second.error().code == LockError::Code::deadlock;
  }
  std::mutex mutex_;
  std::condition_variable news_;
  std::vector<std::optional<std::pair<Clock::time_point, tl::expected<Grant, LockError>>>> answers_;
};

class Rings {
 public:
  Rings(const std::string& name, std::size_t coordinators, unsigned seed)
      : coordinators_(coordinators),
        folder_(name),
        services_(folder_, "ipc", agents, coordinators),
        random_(seed),
        client_(services_.client()),
        session_(must(client_.open({.ttl = 60s, .on_jeopardy = {}, .on_lost = {}}))) {
    std::this_thread::sleep_for(1500ms);  // coordinators that share the graph grant nothing in their first second
  }

  [[nodiscard]] std::size_t coordinators() const { return coordinators_; }

  /// Microseconds from the closing request to the victim's error.
  double resolve(std::size_t length) {
    std::vector<std::size_t> ages(length);
    std::iota(ages.begin(), ages.end(), std::size_t{1});
    std::shuffle(ages.begin(), ages.end(), random_);
    std::vector<LockTransaction> txns;
    std::vector<AcquireOptions> places;
    for (std::size_t i = 0; i < length; ++i) {
      txns.push_back(must(session_.begin({.id = {}, .start = static_cast<double>(ages[i])})));
      places.push_back({.wait = {}, .site = SiteId(std::string(1, static_cast<char>('a' + random_() % agents)))});
      (void)must(txns[i].lock("r" + std::to_string(i), modes::X, places[i]));
    }
    Answers answers(length);
    const auto ask = [&](std::size_t i) {
      const auto next = (i + 1) % length;
      txns[i].lock_async("r" + std::to_string(next), modes::X, places[next],
                         [&answers, i](tl::expected<Grant, LockError> grant) { answers.tell(i, std::move(grant)); });
    };
    for (std::size_t i = 0; i + 1 < length; ++i) ask(i);
    wait_until([&] { return services_.waits() == length - 1; }, "all waits but the last are known");
    const auto start = Clock::now();
    ask(length - 1);
    const auto [victim, when] = answers.first_victim();
    std::size_t victims = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const auto at = (victim + length - i) % length;  // whoever waits for the one that ended is next
      const auto was_victim = answers.was_victim(at);
      if (!was_victim) {
        for (std::size_t agent = 0; agent < agents; ++agent)
          std::cerr << must(net::query(services_.addresses()[agent].endpoint, "locks", "", 5s)) << "\n";
        fail("transaction " + txns[at].id().str() + ", " + std::to_string(i) + " behind the victim " +
             txns[victim].id().str() + ", got no answer within 10 s of the deadlock's end");
      }
      victims += *was_victim ? 1 : 0;
      (void)txns[at].end();
    }
    if (victims != 1) fail("a ring of " + std::to_string(length) + " had " + std::to_string(victims) + " victims");
    wait_until([&] { return services_.waits() == 0; }, "all waits are over");
    return us_since(start, when);
  }

 private:
  std::size_t coordinators_;
  TemporaryFolder folder_;
  Services services_;
  std::mt19937 random_;
  LockClient client_;
  LockSession session_;
};

int run(int argc, char** argv) {
  CLI::App app{"How long deadlocks of 2 to 32 transactions take, with one coordinator and with several"};
  int rounds = 30;
  std::size_t several = 4;
  std::vector<std::size_t> lengths{2, 3, 4, 6, 8, 12, 16, 24, 32};
  unsigned seed = 1;
  std::string format = "table";
  app.add_option("--rounds", rounds, "rings of each length")->check(CLI::Range(1, 10'000));
  app.add_option("--coordinators", several, "how many share the graph, next to one alone")->check(CLI::Range(2, 16));
  app.add_option("--seed", seed, "of the random sites");
  app.add_option("--lengths", lengths, "of the rings")->delimiter(',')->check(CLI::Range(2, 64));
  add_format(app, format);
  if (const auto code = parsed(app, argc, argv)) return *code;
  std::cerr << cpu_model() << ", " << std::thread::hardware_concurrency() << " cores\n";
  Rings one("ring-one", 1, seed), many("ring-many", several, seed);
  if (format == "table") std::cout << "length  coordinators  median ms  p95 ms\n";
  for (const std::size_t length : lengths) {
    std::vector<double> one_ms, many_ms;
    for (int round = 0; round < rounds; ++round) {
      one_ms.push_back(one.resolve(length) / 1000);
      many_ms.push_back(many.resolve(length) / 1000);
    }
    for (const auto& [rings, ms] : {std::pair(&one, &one_ms), std::pair(&many, &many_ms)}) {
      const Json row{{"length", length},
                     {"coordinators", rings->coordinators()},
                     {"rings", rounds},
                     {"median_ms", median(*ms)},
                     {"p95_ms", percentile(*ms, 95)}};
      if (format == "json") {
        std::cout << row.dump() << std::endl;
      } else {
        std::printf("%6zu  %12zu  %9.2f  %6.2f\n", length, rings->coordinators(), median(*ms), percentile(*ms, 95));
        std::fflush(stdout);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace gordian::bench

int main(int argc, char** argv) {
  return gordian::bench::run_program("ring_resolution", gordian::bench::run, argc, argv);
}
