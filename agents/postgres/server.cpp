#include "postgres/server.hpp"

#include <array>

namespace gordian::postgres {
namespace {

// Without a search path no object of a user can stand in for one of the system's. The planner's guesses about the system
// functions are far off, and compiling (jit) for them would take longer than running.
constexpr Statement prepare_session{"gordian_session", R"sql(
select set_config('search_path', 'pg_catalog', false), set_config('jit', 'off', false)
)sql"};

constexpr Statement examine_statement{"gordian_examine", R"sql(
select current_setting('server_version'),
       current_setting('server_version_num')::int,
       (select rolsuper from pg_roles where rolname = current_user),
       pg_has_role(current_user, 'pg_read_all_stats', 'usage'),
       pg_has_role(current_user, 'pg_signal_backend', 'usage'),
       quote_ident(current_user)
)sql"};

constexpr std::int64_t version_min = 140000;  // pg_locks.waitstart

}  // namespace

tl::expected<ServerFacts, ServerError> examine(Connection& connection) {
  if (auto prepared = connection.run(prepare_session); !prepared) return tl::unexpected(prepared.error());
  const auto rows = connection.run(examine_statement);
  if (!rows) return tl::unexpected(rows.error());
  const auto refuse = [](std::string message) {
    return tl::unexpected(ServerError{ServerError::Code::refused, std::move(message)});
  };
  const std::string version(rows->text(0, 0)), role(rows->text(0, 5));
  const bool superuser = rows->flag(0, 2);
  if (rows->number(0, 1) < version_min)
    return refuse("PostgreSQL " + version + " is too old: it does not tell when a wait began; 14 or later is needed");
  if (!superuser && !rows->flag(0, 3))
    return refuse("role " + role + " may not see other users' transactions; as a superuser run: GRANT pg_monitor TO " +
                  role);
  return ServerFacts{version, superuser, superuser || rows->flag(0, 4)};
}

std::string_view advice(std::string_view message) {
  struct Known {
    std::string_view part, what_to_do;
  };
  static constexpr std::array<Known, 10> known{{
      {"password authentication failed", "check the user and the password (PGPASSWORD, ~/.pgpass, or --connect)"},
      {"no password supplied", "give a password (PGPASSWORD, ~/.pgpass, or --connect)"},
      {"pg_hba.conf", "let this user in from here in the server's pg_hba.conf"},
      {"does not exist", "name a database and a role that exist in --connect"},
      {"too many clients", "free a connection, or raise max_connections or superuser_reserved_connections"},
      {"remaining connection slots", "free a connection, or raise max_connections"},
      {"Connection refused", "start the server, or correct host and port in --connect"},
      {"No such file or directory", "start the server, or correct host and port in --connect"},
      {"no reply within", "look whether the server hangs; the limit is --reply-limit"},
      {"GRANT ", "then the agent goes on by itself"},
  }};
  for (const auto& [part, what_to_do] : known)
    if (message.find(part) != std::string_view::npos) return what_to_do;
  return "look at the server's log and at --connect";
}

}  // namespace gordian::postgres
