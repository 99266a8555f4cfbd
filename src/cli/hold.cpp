#include "cli/hold.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>

#include "text/text.hpp"

namespace gordian::cli {
namespace {

constexpr int answer_is_no = 1, bad_input = 2, unreachable = 3, refused = 4;
constexpr int cannot_execute = 126, not_found = 127, killed = 128;  // as a shell has them
constexpr int answered = SIGUSR1;                                   // an asynchronous answer is there

int exit_code_of(LockError::Code code) {
  using Code = LockError::Code;
  switch (code) {
    case Code::timeout:
    case Code::refused:
    case Code::deadlock:
    case Code::cancelled: return answer_is_no;
    case Code::unreachable:
    case Code::lease_lost: return unreachable;
    case Code::invalid:
    case Code::limit: return bad_input;
    default: return refused;
  }
}

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, answered}) sigaddset(&signals, signal);
  return signals;
}

/// What the command finds in its environment.
std::vector<std::string> environment_of(const Grant& grant, const TxnId& txn) {
  const std::string epoch = std::to_string(grant.fence.epoch), counter = std::to_string(grant.fence.counter);
  std::vector<std::string> environment{"GORDIAN_LOCK=" + grant.name, "GORDIAN_FENCE=" + epoch + "." + counter,
                                       "GORDIAN_FENCE_EPOCH=" + epoch, "GORDIAN_FENCE_COUNTER=" + counter,
                                       "GORDIAN_TXN=" + txn.str()};
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view old(*each);
    const auto same = [&](const std::string& mine) {
      return old.substr(0, old.find('=')) == mine.substr(0, mine.find('='));
    };
    if (std::none_of(environment.begin(), environment.begin() + 5, same)) environment.emplace_back(old);
  }
  return environment;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (const auto& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

/// Starts the command. The child runs only what may run between fork and exec.
pid_t start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
            const sigset_t& old_mask) {
  const auto arguments = pointers(command), variables = pointers(environment);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // nobody runs under a lock that nobody holds
  if (getppid() != parent) _exit(killed);
  sigprocmask(SIG_SETMASK, &old_mask, nullptr);
  execvpe(command.front().c_str(), arguments.data(), variables.data());
  const int why = errno;
  const char* const said[] = {"gordian: ", arguments.front(), ": ",
                              why == ENOENT ? "there is no such command" : "the command cannot be run", "\n"};
  for (const char* text : said) {
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
  }
  _exit(why == ENOENT ? not_found : cannot_execute);
}

/// Waits for its end; passes signals on.
int watch(pid_t child, const sigset_t& signals) {
  for (;;) {
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : killed + WTERMSIG(status);
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) kill(child, signal);
  }
}

/// The lock, or why not; a signal withdraws the request.
tl::expected<Grant, LockError> acquire(LockTransaction& txn, const HoldOptions& options, const sigset_t& signals) {
  std::atomic<bool> done{false};
  std::optional<tl::expected<Grant, LockError>> result;
  const pid_t self = getpid();
  const auto ticket = txn.lock_async(options.name, options.mode, {.wait = options.wait, .site = {}},
                                     [&](tl::expected<Grant, LockError> granted) {
                                       result = std::move(granted);
                                       done = true;
                                       kill(self, answered);
                                     });
  while (!done) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) txn.cancel(ticket);
  }
  return *std::move(result);
}

int fail(const HoldOptions& options, const LockError& error) {
  std::cerr << "gordian: " << text::visible(options.name) << ": " << name(error.code) << ": " << error.message << "\n";
  return exit_code_of(error.code);
}

}  // namespace

int hold(const HoldOptions& options) {
  // Every thread inherits the mask: signals are taken here alone.
  const sigset_t signals = watched_signals();
  sigset_t old_mask;
  pthread_sigmask(SIG_BLOCK, &signals, &old_mask);
  std::atomic<pid_t> child{0};
  std::atomic<bool> lost{false};

  std::string label = options.command.front();
  char host[256] = "";
  if (gethostname(host, sizeof host - 1) == 0) label = "gordian lock: " + label + " on " + host;
  auto client = LockClient::start({.agents = options.agents, .label = label, .limits = {}, .on_log = {}});
  if (!client) return fail(options, client.error());
  const auto tell = [&](const LockError& why) {
    if (lost.exchange(true)) return;
    std::cerr << "gordian: the lock " << text::visible(options.name) << " is lost: " << why.message << "\n";
    if (const pid_t running = child; running > 0) kill(running, options.lost_signal);
  };
  auto session = client->open({.ttl = options.ttl, .on_jeopardy = {}, .on_lost = tell});
  if (!session) return fail(options, session.error());
  auto txn = session->begin({.on_aborted = [&](const LockError& why) {
    if (child > 0) tell(why);
  }});
  if (!txn) return fail(options, txn.error());
  const auto grant = acquire(*txn, options, signals);
  if (!grant) return fail(options, grant.error());
  child = start(options.command, environment_of(*grant, txn->id()), old_mask);
  if (child < 0) {
    std::cerr << "gordian: the command cannot be started: " << std::strerror(errno) << "\n";
    return cannot_execute;
  }
  if (lost) kill(child, options.lost_signal);
  const int code = watch(child, signals);
  child = 0;
  if (const auto closed = session->close(); !closed && !lost)
    std::cerr << "gordian: the release was not confirmed: " << closed.error().message << "; the lease ends it\n";
  return code;
}

}  // namespace gordian::cli
