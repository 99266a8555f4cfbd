#include "postgres/connection.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace gordian::postgres {
namespace {

using std::chrono::milliseconds;

/// How soon a stop is noticed while the server is silent.
constexpr milliseconds stop_check{50};

/// libpq ends its messages with a line feed and may indent further lines.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const bool space = c == '\n' || c == '\t' || c == ' ';
    if (!space)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace

void Rows::Clear::operator()(pg_result* result) const noexcept { PQclear(result); }
int Rows::size() const { return PQntuples(result_.get()); }
bool Rows::null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
std::string_view Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}
std::int64_t Rows::number(int row, int column) const {
  std::int64_t value = 0;
  const auto digits = text(row, column);
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}
bool Rows::flag(int row, int column) const { return text(row, column) == "t"; }

void Connection::Finish::operator()(pg_conn* connection) const noexcept { PQfinish(connection); }

tl::expected<Connection, ServerError> Connection::open(const std::string& conninfo, milliseconds reply_limit,
                                                       const std::atomic<bool>& stopping) {
  // What comes after `dbname` goes before what the connection string says. SQL_ASCII: texts of other databases may be in
  // any encoding; converting them could fail and take the whole answer with it.
  const char* const keywords[] = {"dbname", "application_name", "client_encoding", nullptr};
  const char* const values[] = {conninfo.c_str(), "gordian-postgres", "SQL_ASCII", nullptr};
  Connection connection(PQconnectStartParams(keywords, values, 1), reply_limit, stopping);
  if (!connection.connection_) return tl::unexpected(ServerError{ServerError::Code::lost, "out of memory"});
  if (auto connected = connection.finish_connecting(); !connected) return tl::unexpected(connected.error());

  pg_conn* raw = connection.connection_.get();
  connection.place_ =
      std::string(PQhost(raw)) + ":" + PQport(raw) + ", database " + PQdb(raw) + ", user " + PQuser(raw);
  PQsetnonblocking(raw, 1);
  return connection;
}

tl::expected<void, ServerError> Connection::finish_connecting() {
  const auto deadline = Clock::now() + reply_limit_;
  pg_conn* raw = connection_.get();
  if (PQstatus(raw) == CONNECTION_BAD) return tl::unexpected(lost(PQerrorMessage(raw)));
  PostgresPollingStatusType next = PGRES_POLLING_WRITING;  // as libpq's manual demands
  while (next != PGRES_POLLING_OK) {
    if (next == PGRES_POLLING_FAILED) return tl::unexpected(lost(PQerrorMessage(raw)));
    const bool reading = next == PGRES_POLLING_READING;
    if (auto ready = wait_for_socket(reading, !reading, deadline); !ready) return ready;
    next = PQconnectPoll(raw);
  }
  return {};
}

tl::expected<Rows, ServerError> Connection::run(const Statement& statement,
                                                const std::vector<std::string>& parameters) {
  const auto deadline = Clock::now() + reply_limit_;
  pg_conn* raw = connection_.get();
  if (!prepared_.contains(statement.name)) {
    if (PQsendPrepare(raw, statement.name, statement.sql, 0, nullptr) == 0)
      return tl::unexpected(lost(PQerrorMessage(raw)));
    if (auto prepared = reply(deadline); !prepared) return prepared;
    prepared_.insert(statement.name);
  }
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const auto& parameter : parameters) values.push_back(parameter.c_str());
  if (PQsendQueryPrepared(raw, statement.name, static_cast<int>(values.size()), values.data(), nullptr, nullptr, 0) ==
      0)
    return tl::unexpected(lost(PQerrorMessage(raw)));
  return reply(deadline);
}

tl::expected<Rows, ServerError> Connection::run_text(const std::string& sql) {
  const auto deadline = Clock::now() + reply_limit_;
  if (PQsendQuery(connection_.get(), sql.c_str()) == 0) return tl::unexpected(lost(PQerrorMessage(connection_.get())));
  return reply(deadline);
}

tl::expected<Rows, ServerError> Connection::reply(Clock::time_point deadline) {
  pg_conn* raw = connection_.get();
  for (int unsent = PQflush(raw); unsent != 0; unsent = PQflush(raw)) {
    if (unsent < 0) return tl::unexpected(lost(PQerrorMessage(raw)));
    if (auto ready = wait_for_socket(true, true, deadline); !ready) return tl::unexpected(ready.error());
    if (PQconsumeInput(raw) == 0) return tl::unexpected(lost(PQerrorMessage(raw)));
  }
  Rows last(nullptr);
  std::string refusal;
  while (true) {
    while (PQisBusy(raw) != 0) {
      if (auto ready = wait_for_socket(true, false, deadline); !ready) return tl::unexpected(ready.error());
      if (PQconsumeInput(raw) == 0) return tl::unexpected(lost(PQerrorMessage(raw)));
    }
    pg_result* result = PQgetResult(raw);
    if (result == nullptr) break;
    last = Rows(result);
    const auto status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) refusal = one_line(PQresultErrorMessage(result));
  }
  if (PQstatus(raw) == CONNECTION_BAD)
    return tl::unexpected(lost(refusal.empty() ? PQerrorMessage(raw) : refusal.c_str()));
  if (!refusal.empty()) return tl::unexpected(ServerError{ServerError::Code::refused, refusal});
  return last;
}

tl::expected<void, ServerError> Connection::wait_for_socket(bool readable, bool writable, Clock::time_point deadline) {
  const auto events = static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
  while (true) {
    if (stopping_->load()) return tl::unexpected(lost("the agent is being stopped"));
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    if (left <= milliseconds::zero())
      return tl::unexpected(lost("no reply within " + std::to_string(reply_limit_.count()) + " ms"));
    pollfd socket{PQsocket(connection_.get()), events, 0};
    const int ready = ::poll(&socket, 1, static_cast<int>(std::min(left, stop_check).count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return tl::unexpected(lost(std::strerror(errno)));
  }
}

ServerError Connection::lost(std::string_view what) const { return {ServerError::Code::lost, one_line(what)}; }

std::string Connection::literal(std::string_view text) const {
  char* quoted = PQescapeLiteral(connection_.get(), text.data(), text.size());
  if (quoted == nullptr) return "''";  // invalid in the connection's encoding: names nothing
  std::string result(quoted);
  PQfreemem(quoted);
  return result;
}

}  // namespace gordian::postgres
