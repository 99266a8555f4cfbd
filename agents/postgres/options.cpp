#include "postgres/options.hpp"

#include <libpq-fe.h>

#include <gordian/ids.hpp>

#include "config/options.hpp"
#include "postgres/identity.hpp"

namespace gordian::postgres {
namespace {

using namespace std::chrono_literals;

std::string check_id_pattern(const std::string& pattern) {
  const auto parsed = parse_id_pattern(pattern);
  return parsed ? std::string() : parsed.error();
}

std::string check_pattern(const std::string& pattern) {
  try {
    const std::regex parsed(pattern);
    return {};
  } catch (const std::regex_error& error) {
    return "\"" + pattern + "\" is not a regular expression (" + error.what() + "), expected one such as \"^admin\"";
  }
}

std::string check_connect(const std::string& conninfo) {
  char* why = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(conninfo.c_str(), &why);
  if (parsed != nullptr) {
    PQconninfoFree(parsed);
    return {};
  }
  std::string wrong(why == nullptr ? "out of memory" : why);
  PQfreemem(why);
  while (!wrong.empty() && wrong.back() == '\n') wrong.pop_back();
  return wrong + ", expected such as \"host=127.0.0.1 port=5432 dbname=shop user=gordian\" or \"postgresql://…\"";
}

}  // namespace

std::optional<int> read_settings(Settings& s, int argc, const char* const* argv) {
  config::Options options("gordian-postgres", GORDIAN_VERSION,
                          "Gordian's agent beside a PostgreSQL server: reports who waits for whom, and ends victims.");
  options.add("coordinator", s.coordinator, "ZeroMQ endpoint of the coordinator, of several some, with commas");
  options.add("site", s.site, "name of this server among all sites; required");
  options.add("connect", s.connect, "how to reach the server, as libpq connection string or URL", check_connect);
  options.add("label", s.label, "where the server runs, shown to people; without it the address is shown");
  options.add("publish_after", s.publish_after, "a wait is reported once it is this old", config::between(0us, 1min));
  options.add("poll_interval", s.poll_interval, "how often to look for waits while there are none",
              config::between(1ms, 1min));
  options.add("busy_poll_interval", s.busy_poll_interval, "how often to look while somebody waits",
              config::between(1ms, 1min));
  options.add("reply_limit", s.reply_limit, "a server that does not reply within this time counts as away",
              config::between(100ms, 1min));
  options.add("idle_branch_grace", s.idle_branch_grace,
              "how long a victim's client may take to roll back its other branches", config::between(0us, 1min));
  options.add("identity_pattern", s.identity_pattern,
              "regular expression on application_name; its one group is the global transaction", check_id_pattern);
  options.add("gid_pattern", s.gid_pattern, "the same on the gid of prepared transactions", check_id_pattern);
  options.add("never_pattern", s.never_pattern,
              "whoever's application_name or user matches this regular expression is never aborted", check_pattern);
  options.add("prepared", s.prepared, "what to do with a victim that is prepared",
              config::one_of({"never", "rollback"}));
  options.add("local_deadlocks", s.local_deadlocks, "deadlocks inside this server: left to it, or resolved",
              config::one_of({"leave", "resolve"}));
  options.add("log_level", s.log_level, "least level to log", config::one_of({"debug", "info", "warn", "error"}));
  options.check([&s]() -> std::string {
    if (const auto site = SiteId::parse(s.site); !site) return "site: " + site.error() + "; give one with --site";
    if (s.busy_poll_interval > s.poll_interval) return "busy_poll_interval is longer than poll_interval";
    return {};
  });
  return options.parse_or_exit(argc, argv);
}

}  // namespace gordian::postgres
