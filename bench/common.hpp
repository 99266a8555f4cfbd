// What benchmarks share: time, statistics, and the raw ZeroMQ round trip that everything is compared with.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>
#include <zmq.hpp>

namespace gordian::bench {

using Clock = std::chrono::steady_clock;

inline constexpr auto give_up_after = std::chrono::seconds(10);

double us_since(Clock::time_point start, Clock::time_point end = Clock::now());

[[noreturn]] void fail(const std::string& what);

template <class Condition>
void wait_until(Condition condition, const std::string& what) {
  for (const auto deadline = Clock::now() + give_up_after; !condition();
       std::this_thread::sleep_for(std::chrono::microseconds(200)))
    if (Clock::now() > deadline) fail("not within 10 s: " + what);
}

[[nodiscard]] double percentile(std::vector<double> values, double p);
[[nodiscard]] inline double median(std::vector<double> values) { return percentile(std::move(values), 50); }

[[nodiscard]] std::string cpu_model();

/// A folder of its own, removed with the object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::string& name);
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// The line that a service has written into its endpoint file.
[[nodiscard]] std::string endpoint_in(const std::string& file);

/// A ROUTER that sends everything back; prints its endpoint. Never returns.
[[noreturn]] void run_echo(const std::string& endpoint);

/// A DEALER that asks and waits for the answer, at most 10 s.
class Dealer {
 public:
  explicit Dealer(const std::string& endpoint);
  zmq::message_t ask(const std::string& message);

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

}  // namespace gordian::bench
