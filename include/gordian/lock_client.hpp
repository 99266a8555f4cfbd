// The lock client: locks with leases and fences at gordian-agents, as docs/lock-protocol.md describes the service.
//
// A LockClient is the connection of one process to one or more agents. A LockSession is a lease at each of them, renewed by
// itself; while it is valid, what its transactions hold is theirs. A LockTransaction takes locks, at any of the agents, under
// one global id, so that deadlocks across agents (and across databases that report the same ids) are found.
//
// After `remaining()` has come to zero everything fails locally, whatever the agents think: the client's deadline is never
// later than theirs. What a paused process does after that is for the fence to refuse: hand Grant::fence to the resource
// (fence_guard.hpp).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <gordian/ids.hpp>
#include <gordian/lock_mode.hpp>
#include <gordian/lock_table.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace gordian {

/// Where a lock agent is.
struct AgentAddress {
  SiteId site;
  std::string endpoint;  ///< such as "tcp://127.0.0.1:7420"

  /// "SITE=ENDPOINT", or a list of such with commas. The error is a sentence.
  [[nodiscard]] static tl::expected<std::vector<AgentAddress>, std::string> parse_list(std::string_view text);
};

struct LockClientLimits {
  std::size_t sessions = 100'000;
  std::size_t pending_requests = 100'000;  ///< of all sessions together
  std::size_t name_bytes = 1024;
};

struct LockClientOptions {
  /// Every resource belongs to one of these, by rendezvous hashing of its name over the sites, unless a call names the site.
  /// All clients of the same resources must have the same list of sites; order and endpoints do not matter.
  std::vector<AgentAddress> agents;
  std::string label;                             ///< shown to people: program, host
  ModeMatrix modes = modes::standard();          ///< the agents' own
  std::chrono::milliseconds reply_limit{5'000};  ///< an agent that answers nothing for so long is `unreachable`
  LockClientLimits limits;
  enum class Level : std::uint8_t { debug, info, warn, error };
  std::function<void(Level, std::string_view)> on_log;  ///< unset: nothing is logged
};

struct SessionOptions {
  std::chrono::milliseconds ttl{10'000};    ///< how long the agents wait for a client that is silent; 100 ms to 1 h
  std::chrono::milliseconds lock_delay{0};  ///< after a lease ran out, its locks stay taken for this long
  /// Renewals have failed for two thirds of the time to live. Called once until a renewal succeeds.
  std::function<void(std::chrono::microseconds remaining)> on_jeopardy;
  /// The session is over and all its locks with it. Called once, not after close().
  std::function<void(const LockError& reason)> on_lost;
};

struct ClientTxnOptions {
  std::optional<TxnId> id;           ///< none: one that nobody else has
  std::optional<double> start;       ///< first start in Unix microseconds; a restarted transaction keeps it; none: now
  double priority = 0;               ///< lower is aborted first
  double restarts = 0;               ///< how often it was a victim already
  std::string label;                 ///< shown to people
  std::optional<Strategy> strategy;  ///< none: the agents'
  /// The transaction was aborted (deadlock, wounded, forced): its locks are gone. Called once.
  std::function<void(const LockError& reason)> on_aborted;
};

struct AcquireOptions {
  /// How long it may take; none: without end; 0: at once or `refused`. A transaction that holds locks hears of a timeout or cancel
  /// when the agent has confirmed it (it may have become a victim meanwhile): up to `reply_limit` later, then `unreachable`.
  std::optional<std::chrono::microseconds> wait;
  std::optional<SiteId> site;  ///< none: by the name
};

/// One lock that is held. A value: it does nothing by itself.
struct Grant {
  std::string name;
  SiteId site;
  Mode mode;
  Fence fence;
};

/// Names one asynchronous request of a transaction.
enum class RequestTicket : std::uint64_t {};

/// Counters, for people and tests.
struct LockClientStatus {
  std::size_t sessions = 0;
  std::size_t pending = 0;     ///< requests without a final answer
  std::uint64_t requests = 0;  ///< sent for the first time
  std::uint64_t resent = 0;    ///< sent again, because no answer came
  std::uint64_t renewals = 0;
  std::uint64_t reclaims = 0;  ///< after an agent was started again
  std::uint64_t sessions_lost = 0;
};

class LockSession;

/// Locks of one unit of work. Thread-safe: calls of several threads are parallel branches. Movable; its destruction is end()
/// without waiting for the answer. May outlive its session and client: calls fail then.
///
/// Errors of every call: those of LockTxn, `lease_lost` when the session is over, `unreachable`, and after an abort that
/// abort's error, with the incident. Blocking calls return by themselves when the session's lease runs out.
class LockTransaction {
 public:
  LockTransaction(LockTransaction&&) noexcept;
  LockTransaction& operator=(LockTransaction&&) noexcept;
  ~LockTransaction();

  /// Blocks until it is granted or an error. One request and one answer if nobody is in the way.
  [[nodiscard]] tl::expected<Grant, LockError> lock(std::string_view name, Mode mode = modes::X,
                                                    const AcquireOptions& options = {});
  /// The last part in `mode`, each part before it in the intention mode that goes with it, wherever those live. The grants in
  /// the order of the path, the last one being the resource itself. All or nothing.
  [[nodiscard]] tl::expected<std::vector<Grant>, LockError> lock_path(std::string_view path, Mode mode,
                                                                      const AcquireOptions& options = {});
  /// All of them or nothing, under one deadline, in one order for all callers. The grants in the order of `items`.
  [[nodiscard]] tl::expected<std::vector<Grant>, LockError> lock_all(std::span<const LockItem> items,
                                                                     const AcquireOptions& options = {});
  /// `need` of them, whichever are free first. All must live at one agent (name the site), else `invalid`.
  [[nodiscard]] tl::expected<std::vector<Grant>, LockError> lock_some(std::span<const LockItem> items, std::size_t need,
                                                                      const AcquireOptions& options = {});
  /// Undoes one grant. Refused (`not_held`) if the lock is held no longer under that fence.
  tl::expected<void, LockError> unlock(const Grant& grant);
  /// Holds it in the weaker `mode` from now on.
  tl::expected<void, LockError> downgrade(const Grant& grant, Mode mode);

  /// The same without blocking: `done` is called once, on the client's callback thread. It may call asynchronous functions, not
  /// blocking ones.
  using Done = std::function<void(tl::expected<Grant, LockError>)>;
  using Ended = std::function<void(tl::expected<void, LockError>)>;
  RequestTicket lock_async(std::string_view name, Mode mode, const AcquireOptions& options, Done done);
  void unlock_async(const Grant& grant, Ended done);

  /// Withdraws one request, or all that wait: they end with `cancelled`, unless they are granted before. From any thread.
  void cancel(RequestTicket ticket);
  void cancel();

  /// Ends it: requests that wait are cancelled, all locks released everywhere. Blocks until the agents said so (or cannot be
  /// reached: then the lease sees to it). Calls after it fail with `invalid`. After an abort it says that again: success means
  /// that everything was held to the end.
  tl::expected<void, LockError> end();

  [[nodiscard]] const TxnId& id() const;
  [[nodiscard]] double start() const;                    ///< first start, Unix microseconds
  [[nodiscard]] std::optional<LockError> error() const;  ///< why all calls fail, if they do
  [[nodiscard]] std::vector<Grant> held() const;

 private:
  friend class LockSession;
  class Impl;
  explicit LockTransaction(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

/// A lease at every agent that its transactions use, renewed every third of its time to live. Thread-safe. Movable; its
/// destruction is close() without waiting.
class LockSession {
 public:
  LockSession(LockSession&&) noexcept;
  LockSession& operator=(LockSession&&) noexcept;
  ~LockSession();

  /// Cost: nothing is sent before the first lock.
  [[nodiscard]] tl::expected<LockTransaction, LockError> begin(ClientTxnOptions options = {});

  /// How long what it holds is surely its own, if no renewal succeeds from now on; zero when it is over. Before the first lock
  /// the whole time to live. Counts while the machine sleeps, too.
  [[nodiscard]] std::chrono::microseconds remaining() const;
  /// Why it is over, if it is.
  [[nodiscard]] std::optional<LockError> lost() const;

  /// Releases everything everywhere; blocks until the agents said so or `reply_limit` has passed.
  tl::expected<void, LockError> close();

 private:
  friend class LockClient;
  class Impl;
  explicit LockSession(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

/// Thread-safe. Owns one thread, which renews leases and runs callbacks, one at a time.
class LockClient {
 public:
  /// Returns before any agent was reached. Errors: invalid (no agent, an endpoint that is none, a site named twice).
  [[nodiscard]] static tl::expected<LockClient, LockError> start(LockClientOptions options);
  LockClient(LockClient&&) noexcept;
  LockClient& operator=(LockClient&&) noexcept;
  /// Closes all sessions without waiting for answers; joins the thread. Not from a callback.
  ~LockClient();

  /// Errors: invalid (time to live out of range), limit.
  [[nodiscard]] tl::expected<LockSession, LockError> open(SessionOptions options = {});

  /// Which agent a resource belongs to.
  [[nodiscard]] const SiteId& site_of(std::string_view name) const;
  [[nodiscard]] LockClientStatus status() const;

 private:
  class Impl;
  explicit LockClient(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

/// The member of `sites` to which `name` belongs, by rendezvous hashing: the largest hash of (site, name) wins, so a site that
/// comes or goes moves only its own share. docs/lock-protocol.md gives the hash, so that every language agrees.
/// `sites` must not be empty. Cost: O(sites).
[[nodiscard]] std::size_t rendezvous(std::span<const AgentAddress> sites, std::string_view name);

}  // namespace gordian
