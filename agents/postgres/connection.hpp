// One connection to a PostgreSQL server, over libpq. Every step has a time limit, so that a server that hangs is noticed.
//
// Knows nothing of locks. Errors are sentences for people; after a `lost` one the connection is of no more use.
// Not thread-safe. `stopping` may be set from any thread (or signal handler) and ends whatever is being waited for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

extern "C" {
struct pg_conn;
struct pg_result;
}

namespace gordian::postgres {

struct ServerError {
  enum class Code : std::uint8_t {
    lost,     ///< no connection, or none any more
    refused,  ///< the server understood and said no
  };
  Code code;
  std::string message;
};

/// What a statement returned. Columns count from 0; reading a NULL gives an empty text, 0 or false.
class Rows {
 public:
  explicit Rows(pg_result* result) noexcept : result_(result) {}

  [[nodiscard]] int size() const;
  [[nodiscard]] bool null(int row, int column) const;
  [[nodiscard]] std::string_view text(int row, int column) const;
  [[nodiscard]] std::int64_t number(int row, int column) const;
  [[nodiscard]] bool flag(int row, int column) const;

 private:
  struct Clear {
    void operator()(pg_result* result) const noexcept;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

/// A statement that is prepared when it is first run on a connection. Both texts must live as long as the program.
struct Statement {
  const char* name;
  const char* sql;
};

class Connection {
 public:
  /// Connects within `reply_limit`. `conninfo` is libpq's connection string or URL.
  [[nodiscard]] static tl::expected<Connection, ServerError> open(const std::string& conninfo,
                                                                  std::chrono::milliseconds reply_limit,
                                                                  const std::atomic<bool>& stopping);

  /// Runs one statement in a transaction of its own and waits for all of its rows.
  [[nodiscard]] tl::expected<Rows, ServerError> run(const Statement& statement,
                                                    const std::vector<std::string>& parameters = {});

  /// Runs SQL that cannot be prepared.
  [[nodiscard]] tl::expected<Rows, ServerError> run_text(const std::string& sql);

  /// `text` as an SQL literal, with its quotes.
  [[nodiscard]] std::string literal(std::string_view text) const;

  /// "host:port, database d, user u", for messages.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }

 private:
  struct Finish {
    void operator()(pg_conn* connection) const noexcept;
  };
  using Clock = std::chrono::steady_clock;

  Connection(pg_conn* connection, std::chrono::milliseconds reply_limit, const std::atomic<bool>& stopping) noexcept
      : connection_(connection), reply_limit_(reply_limit), stopping_(&stopping) {}

  [[nodiscard]] tl::expected<void, ServerError> finish_connecting();
  [[nodiscard]] tl::expected<void, ServerError> wait_for_socket(bool readable, bool writable,
                                                                Clock::time_point deadline);
  [[nodiscard]] tl::expected<Rows, ServerError> reply(Clock::time_point deadline);
  [[nodiscard]] ServerError lost(std::string_view what) const;

  std::unique_ptr<pg_conn, Finish> connection_;
  std::chrono::milliseconds reply_limit_;
  const std::atomic<bool>* stopping_;
  std::set<std::string_view> prepared_;
  std::string place_;
};

}  // namespace gordian::postgres
