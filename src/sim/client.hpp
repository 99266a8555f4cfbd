// A program that locks: the real lock client, and a user who works through pieces of work, one transaction each.
//
// A piece of work locks several resources at several sites, in random order (or in one order for all, which never deadlocks), some
// at the same time; it holds them for a while and commits. Whatever aborts it, it is begun again with its first start time,
// under a new id or the old one; only a user's abort ends it for good.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "lease/client_core.hpp"
#include "sim/process.hpp"
#include "sim/random.hpp"

namespace gordian::sim {

/// How the attempts of all pieces of work ended.
struct Attempts {
  std::uint64_t begun = 0, committed = 0;
  std::uint64_t deadlock = 0, timeout = 0, lease = 0, user = 0, killed = 0;
  std::uint64_t unreachable = 0;  ///< an agent that did not answer: a timeout of another kind
  std::uint64_t refused = 0;      ///< a life before this one was still known somewhere: only where messages are lost
  std::uint64_t running = 0;
  unsigned restarts_most = 0;  ///< of one piece of work, because of deadlocks

  /// Both together.
  Attempts& operator+=(const Attempts& other);
  [[nodiscard]] std::uint64_t ended() const {
    return committed + deadlock + timeout + lease + user + killed + unreachable + refused;
  }
};

/// What the clients of a world lock.
struct Workload {
  struct Place {
    SiteId site;
    std::string resource;
    std::vector<std::string>
        several{};  ///< `need` of these: at a lock agent they are locked, at an engine they must be free
    std::uint32_t need = 0;
  };
  std::vector<Place> places;
  std::map<SiteId, std::vector<std::string>> engine_resources;  ///< a piece of work locks any one of an engine's
  bool latches = false;                                         ///< half of the requests to engines take a latch first
  std::uint32_t locks_min = 2, locks_max = 4;                   ///< of a piece of work
  std::uint32_t shared_ppm = 150'000;
  std::uint32_t parallel_ppm = 150'000;  ///< a lock is asked for together with the one before it
  bool ordered = false;
  Micros think_us_max = 60'000;  ///< between pieces of work
  Micros hold_us_max = 40'000;   ///< between locks, and before the commit
  std::chrono::milliseconds ttl{2'000};
};

class Client : public Process {
 public:
  Client(Surroundings& around, NodeId id, std::string name, const Workload& workload, Random random);

  void start() override;
  void crash() override;
  void receive(NodeId from, const std::string& bytes) override;
  void work() override;
  [[nodiscard]] Micros next_due() override;
  void reconnected(NodeId node) override;

  /// An engine's answer to a request of that life.
  void engine_answered(std::uint64_t life, const std::string& incident);
  /// It crashed: what this transaction had there is gone.
  void engine_gone(NodeId engine);

  /// Begins no further piece of work.
  void finish() { finishing_ = true; }
  [[nodiscard]] bool at_rest() const { return finishing_ && state_ == State::idle; }
  /// When it began the piece of work that it has not finished; none if there is none.
  [[nodiscard]] const Attempts& attempts() const { return attempts_; }
  /// What it is sure to hold, by resource.
  [[nodiscard]] std::optional<Observer::Held> surely_held() const;

 private:
  enum class State : std::uint8_t { idle, locking, holding, committing, ending };
  struct Lock {
    Workload::Place place;
    Mode mode;
  };
  struct Work {
    double start;
    std::vector<std::vector<Lock>> plan{};  ///< locks of one inner list are asked for together
    unsigned deadlocks = 0;
    bool given_up = false;
  };

  void act();
  void new_work();
  void begin();
  void lock_next();
  void take_output();
  void on(const lease::CallDone& done);
  void granted(const std::vector<Grant>& grants);
  /// The attempt is over: count it, end the transaction, and try again or not.
  void give_up(const LockError& why);
  void count(LockError::Code why);
  void end_attempt();
  void next_at(State state, Micros due) { state_ = state, due_ = due; }
  void send_all();
  void ask_engine(NodeId engine, const Workload::Place& place);
  void leave_engines();
  void go_on_if_granted();

  const Workload& workload_;
  Random random_;
  std::unique_ptr<lease::ClientCore> core_;
  unsigned starts_ = 0;
  unsigned ids_ = 0;
  bool finishing_ = false;
  lease::SessionKey session_{};
  std::optional<Work> work_;
  State state_ = State::idle;
  Micros due_ = 0;
  Micros user_abort_at_ = never;
  std::optional<lease::TxnKey> txn_;
  std::optional<TxnId> reuse_;  ///< the id of the attempt before, if it is to be used again
  std::optional<TxnId> id_;
  Micros life_began_ = 0;
  std::size_t next_ = 0;  ///< in the plan
  std::vector<lease::CallKey> calls_;
  std::size_t engine_calls_ = 0;
  std::vector<NodeId> engines_used_;
  lease::CallKey end_call_{};
  std::optional<Micros> wait_us_;
  Attempts attempts_;
};

}  // namespace gordian::sim
