// What benchmarks share: time, statistics, and the raw ZeroMQ round trip that everything is compared with.
#pragma once

#include <chrono>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "experiments/child.hpp"

namespace gordian::bench {

using Clock = std::chrono::steady_clock;

using experiments::Child;
using experiments::cpu_model;
using experiments::endpoint_in;
using experiments::give_up_after;
using experiments::own_folder;
using experiments::TemporaryFolder;
using experiments::wait_until;

double us_since(Clock::time_point start, Clock::time_point end = Clock::now());

[[noreturn]] void fail(const std::string& what);

[[nodiscard]] double percentile(std::vector<double> values, double p);
[[nodiscard]] inline double median(std::vector<double> values) { return percentile(std::move(values), 50); }

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
