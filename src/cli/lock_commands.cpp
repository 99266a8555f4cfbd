#include "cli/lock_commands.hpp"

#include <pwd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <iostream>

#include "admin/lock_json.hpp"
#include "cli/hold.hpp"
#include "cli/locks_text.hpp"
#include "config/duration.hpp"
#include "net/clock.hpp"
#include "net/query.hpp"
#include "text/text.hpp"

namespace gordian::cli {
namespace {

constexpr int fine = 0, answer_is_no = 1, bad_input = 2, unreachable = 3, refused = 4;
constexpr std::pair<const char*, int> signals[] = {{"TERM", SIGTERM}, {"INT", SIGINT},   {"HUP", SIGHUP},
                                                   {"KILL", SIGKILL}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
                                                   {"STOP", SIGSTOP}};

int complain(int code, const std::string& what) {
  std::cerr << "gordian: " << what << "\n";
  return code;
}

/// Who acts, for the audit: "user@host".
std::string whoami() {
  char host[256] = "?";
  (void)gethostname(host, sizeof host - 1);
  const passwd* user = getpwuid(geteuid());
  return (user != nullptr ? std::string(user->pw_name) : std::to_string(geteuid())) + "@" + host;
}

int exit_code_of(net::QueryError::Code code) {
  switch (code) {
    case net::QueryError::Code::unreachable: return unreachable;
    case net::QueryError::Code::bad_endpoint: return bad_input;
    case net::QueryError::Code::refused: break;
  }
  return refused;
}

}  // namespace

class LockCommands::Impl {
 public:
  explicit Impl(CLI::App& app) {
    app.add_option("--agents", agents_text_, "lock agents as SITE=ENDPOINT, with commas; default " + agents_text_)
        ->type_name("LIST")
        ->envname("GORDIAN_AGENTS");
    add_lock(app);
    add_locks(app);
    add_unlock(app);
  }

  std::optional<int> run(std::chrono::milliseconds timeout, std::vector<std::string> command) {
    command_ = std::move(command);
    if (!lock_->parsed() && !locks_->parsed() && !unlock_->parsed()) return std::nullopt;
    auto agents = AgentAddress::parse_list(agents_text_);
    if (!agents) return complain(bad_input, "--agents: " + agents.error());
    agents_ = *std::move(agents);
    timeout_ = timeout;
    if (lock_->parsed()) return run_lock();
    return locks_->parsed() ? run_locks() : run_unlock();
  }

 private:
  void add_lock(CLI::App& app) {
    lock_ = app.add_subcommand("lock", "run a command while a lock is held: gordian lock NAME -- COMMAND…");
    lock_->add_option("name", name_, "what to lock")->type_name("NAME")->required();
    lock_->add_option("--mode", mode_, "IS, IX, S, SIX, U or X, default X")->type_name("MODE");
    lock_->add_option("--ttl", ttl_, "how long the agent waits for a holder that is silent, default " + ttl_)
        ->type_name("DURATION");
    lock_->add_option("--wait", wait_, "how long it may take; 0: at once or not at all; default: without end")
        ->type_name("DURATION");
    lock_->add_option("--signal", signal_, "to the command when the lock is lost, default TERM")
        ->type_name("TERM|INT|HUP|KILL|USR1|USR2|STOP");
    lock_->footer(
        "COMMAND finds the lock's fence in its environment, as GORDIAN_FENCE; its exit code is passed through.");
  }
  void add_locks(CLI::App& app) {
    locks_ = app.add_subcommand("locks", "who holds which lock at the lock agents, who waits, since when");
    locks_->add_option("--resource", selection_.resource, "only this one")->type_name("NAME");
    locks_->add_option("--txn", selection_.txn, "only what this transaction holds or waits for")->type_name("ID");
    locks_->add_option("--limit", selection_.limit, "at most so many resources of each agent, default 1000")
        ->type_name("N")
        ->check(CLI::PositiveNumber.description(""));
    locks_->add_flag("--tree", tree_, "who waits for whom, as a tree");
    locks_->add_flag("--audit", audit_, "what administrators did by force, newest first");
    locks_->add_option("--format", format_, "default table")
        ->type_name("table|json")
        ->check(CLI::IsMember({"table", "json"}).description(""));
  }
  void add_unlock(CLI::App& app) {
    unlock_ = app.add_subcommand("unlock", "release a lock by force: its holders are aborted, its fence grows");
    unlock_->add_option("name", name_, "what to release")->type_name("NAME")->required();
    unlock_->add_flag("--force", force_, "required: holders are not asked");
    unlock_->add_option("--why", force_argument_.why, "written into the audit; required")->type_name("TEXT");
    unlock_->add_option("--by", force_argument_.by, "who does it, default user@host")->type_name("TEXT");
    unlock_->add_option("--site", site_, "at this agent; default: by the name")->type_name("SITE");
    unlock_->add_option("--format", format_, "default table")
        ->type_name("table|json")
        ->check(CLI::IsMember({"table", "json"}).description(""));
  }

  int run_lock() {
    if (command_.empty()) return complain(bad_input, "there is no command; expected gordian lock NAME -- COMMAND…");
    HoldOptions options{.agents = agents_, .name = name_, .wait = {}, .lost_signal = SIGTERM, .command = command_};
    const auto mode = modes::standard().find(mode_);
    if (!mode) return complain(bad_input, "--mode: \"" + mode_ + "\" was given, expected IS, IX, S, SIX, U or X");
    options.mode = *mode;
    const auto ttl = config::parse_duration(ttl_);
    if (!ttl) return complain(bad_input, "--ttl: " + ttl.error());
    options.ttl = std::chrono::duration_cast<std::chrono::milliseconds>(*ttl);
    if (!wait_.empty()) {
      const auto wait = config::parse_duration(wait_);
      if (!wait) return complain(bad_input, "--wait: " + wait.error());
      options.wait = *wait;
    }
    const auto* found =
        std::find_if(std::begin(signals), std::end(signals), [&](const auto& s) { return signal_ == s.first; });
    if (found == std::end(signals))
      return complain(bad_input,
                      "--signal: \"" + signal_ + "\" was given, expected TERM, INT, HUP, KILL, USR1, USR2 or STOP");
    options.lost_signal = found->second;
    return hold(options);
  }

  /// The agent's answer, or the exit code; what went wrong is told.
  tl::expected<std::string, int> ask(const AgentAddress& agent, std::string_view what,
                                     const std::string& argument) const {
    auto answer = net::query(agent.endpoint, what, argument, timeout_,
                             {.service = "lock agent " + agent.site.str(),
                              .program = "gordian-agent",
                              .option = "--agents, GORDIAN_AGENTS"});
    if (answer) return *std::move(answer);
    return tl::unexpected(complain(exit_code_of(answer.error().code), answer.error().message));
  }
  template <class View>
  static tl::expected<View, int> read(const tl::expected<std::string, int>& json,
                                      admin::Parsed<View> (*parse)(std::string_view)) {
    if (!json) return tl::unexpected(json.error());
    auto view = parse(*json);
    if (!view)
      return tl::unexpected(
          complain(refused, "the lock agent's answer cannot be read: " + view.error() + "; is it of another version?"));
    return *std::move(view);
  }

  /// Of every agent: "[{…}, …]", or a table of all.
  template <class View>
  int show(std::string_view what, const std::string& argument, admin::Parsed<View> (*parse)(std::string_view),
           const std::function<std::string(const std::vector<View>&)>& text) const {
    std::vector<View> views;
    std::string json = "[";
    int code = fine;
    for (const auto& agent : agents_) {
      const auto answer = ask(agent, what, argument);
      auto view = read(answer, parse);
      if (!view) {
        code = view.error();  // the others are shown all the same
        continue;
      }
      json += (views.empty() ? "" : ",\n") + *answer;
      views.push_back(*std::move(view));
    }
    if (!views.empty()) std::cout << (format_ == "json" ? json + "]\n" : text(views)) << std::flush;
    return code;
  }

  int run_locks() {
    if (audit_)
      return show<std::vector<lease::AuditRecord>>("audit", "", admin::parse_audit, [](const auto& lists) {
        std::vector<lease::AuditRecord> all;
        for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
        std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.unix_us > b.unix_us; });
        return audit_table(all);
      });
    return show<lease::LocksView>("locks", admin::to_json(selection_), admin::parse_locks, [this](const auto& views) {
      return tree_ ? locks_tree(views, net::unix_now_us()) : locks_table(views, net::unix_now_us());
    });
  }

  int run_unlock() {
    if (!force_)
      return complain(bad_input, "a lock is released by its holder; to take it away from him give --force and --why");
    if (force_argument_.why.empty())
      return complain(bad_input, "--why is missing: say why, it is written into the audit");
    force_argument_.name = name_;
    if (force_argument_.by.empty()) force_argument_.by = whoami();
    std::size_t place = rendezvous(agents_, name_);
    if (!site_.empty()) {
      const auto named =
          std::find_if(agents_.begin(), agents_.end(), [&](const auto& agent) { return agent.site.view() == site_; });
      if (named == agents_.end())
        return complain(bad_input, "--site: there is no agent " + site_ + " in the list of agents");
      place = static_cast<std::size_t>(named - agents_.begin());
    }
    const auto held =
        read(ask(agents_[place], "locks", admin::to_json(lease::LockSelection{name_, {}, 1})), admin::parse_locks);
    if (!held) return held.error();
    if (held->resources.empty())
      return complain(answer_is_no, text::visible(name_) + ": nobody holds it at site " + agents_[place].site.str());
    const auto json = ask(agents_[place], "unlock", admin::to_json(force_argument_));
    const auto done = read(json, admin::parse_forced);
    if (!done) return done.error();
    if (format_ == "json") {
      std::cout << *json << "\n";
      return fine;
    }
    std::cout << text::visible(name_) << " is released; aborted:";
    for (const auto& txn : done->aborted) std::cout << " " << text::visible(txn.view());
    std::cout << "\nfences from " << done->fence.epoch << "." << done->fence.counter << " on are valid\n";
    return fine;
  }

  std::string agents_text_ = "local=tcp://127.0.0.1:7420";
  std::vector<AgentAddress> agents_;
  std::chrono::milliseconds timeout_{2'000};
  CLI::App* lock_ = nullptr;
  CLI::App* locks_ = nullptr;
  CLI::App* unlock_ = nullptr;
  std::string name_;
  std::string mode_ = "X";
  std::string ttl_ = "10s";
  std::string wait_;
  std::string signal_ = "TERM";
  std::vector<std::string> command_;
  lease::LockSelection selection_;
  bool tree_ = false;
  bool audit_ = false;
  bool force_ = false;
  admin::ForceArgument force_argument_;
  std::string site_;
  std::string format_ = "table";
};

LockCommands::LockCommands(CLI::App& app) : impl_(std::make_unique<Impl>(app)) {}
LockCommands::~LockCommands() = default;
std::optional<int> LockCommands::run(std::chrono::milliseconds timeout, std::vector<std::string> command) {
  return impl_->run(timeout, std::move(command));
}

}  // namespace gordian::cli
