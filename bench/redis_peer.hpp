// Redis as a lock service, the way its users do it: SET name owner NX PX ttl, and DEL, over many connections of one process.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

namespace gordian::bench {

/// A redis-server of its own, without persistence, on a free port of 127.0.0.1.
class Redis {
 public:
  /// Null if redis-server is not installed.
  static std::unique_ptr<Redis> start(const std::string& folder);
  virtual ~Redis() = default;
  /// Pairs of lock and unlock in a second, by so many connections at once, one thread driving them all.
  virtual double pairs_per_second(std::size_t connections, std::chrono::milliseconds duration) = 0;
};

}  // namespace gordian::bench
