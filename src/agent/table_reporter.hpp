// Turns what a lock table tells its observer into an agent's reports: waits that name holder groups.
//
// The holders of a resource in one mode are one group, hard; the request that a mode's waiters stand behind is a group of one,
// soft: LockTable::advance lets a waiter past it. A call for any or some of several resources becomes waits with named
// blockers (alternatives.hpp), all of them hard: nobody of these is let past a queue.
//
// Not thread-safe: a host whose table is used by several threads locks around it (embed/table_agent.cpp).
// Cost: O(1) per event; and for each call for some of several that waits at the event's resource O(its requests and their
// blockers): such calls are told anew with every change of holders.
#pragma once

#include <array>
#include <chrono>
#include <gordian/agent.hpp>
#include <gordian/lock_table.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/alternatives.hpp"

namespace gordian::agent {

/// Where the reports go: an Agent, or an AgentCore.
class ReportSink {
 public:
  virtual ~ReportSink() = default;
  virtual std::optional<WaitHandle> begin_wait(Wait wait) = 0;
  /// Any clock that does not go back.
  [[nodiscard]] virtual std::chrono::microseconds clock() const = 0;
  /// False if that wait is over.
  virtual bool set_blockers(WaitHandle wait, const std::vector<Blocker>& blockers, std::uint32_t need) = 0;
  virtual void end_wait(WaitHandle wait) = 0;
  virtual std::optional<GroupHandle> begin_group(std::string resource, std::string mode, Kind kind) = 0;
  /// It is no member yet, and leaves once.
  virtual void join_group(GroupHandle group, const TxnId& txn) = 0;
  virtual void leave_group(GroupHandle group, const TxnId& txn) = 0;
  virtual void end_group(GroupHandle group) = 0;
  /// A transaction is about to be named.
  virtual void named(const TxnId& txn) = 0;
};

class TableReporter : public WaitObserver {
 public:
  TableReporter(const ModeMatrix& modes, ReportSink& sink) : modes_(modes), sink_(sink) {}

  static constexpr std::size_t clauses_max = 64;  ///< reported waits of one call for some of several

  /// The table's own name of a wait.
  struct TableWait {
    WaitNumber number;
    std::string resource;
  };
  /// What the table knows a reported wait as; empty if it is over. Of a call for some of several all of its requests that wait.
  [[nodiscard]] std::vector<TableWait> find(WaitHandle wait) const;
  /// The reported wait does not stand as it was told: it ends. A call for some of several is told anew, as a wait of another
  /// name, for what is known of it may be told already and would not be told again.
  void withdraw(WaitHandle wait);
  /// The call for some of several that a wait belongs to.
  struct CallView {
    Ticket ticket;
    std::size_t spare;  ///< so many of its requests may wait for good
  };
  [[nodiscard]] std::optional<CallView> call_of(WaitNumber wait) const;
  /// find() the other way round: empty if it is over, or was not reported.
  [[nodiscard]] std::vector<WaitHandle> reported_as(WaitNumber wait) const;
  /// Waits that were not reported, and calls for some of several that were not reported in full: over a limit of the agent,
  /// or over clauses_max.
  [[nodiscard]] std::uint64_t left_out() const { return left_out_; }

  void wait_begun(const WaitBegun& wait) override;
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override;
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override;
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override;
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override;
  void resource_calm(const std::string& resource, std::uint64_t step) override;

 private:
  struct Front {
    GroupHandle group;
    std::optional<WaitNumber> wait;  ///< the member's
    std::optional<TxnId> member;
  };
  struct Resource {
    std::array<std::optional<GroupHandle>, max_modes> holders;
    std::array<std::optional<Front>, max_modes> fronts;  ///< by the mode of those who stand behind
    std::unordered_map<TxnId, std::vector<Mode>> names;  ///< who holds it; two handles may have one id
    std::vector<Ticket> calls;                           ///< for some of several, that wait for it
  };
  struct Known {
    std::optional<WaitHandle> handle;
    TxnId waiter;
    std::optional<Ticket> call;
  };
  /// A request of a call.
  struct Asked {
    WaitNumber wait;
    std::string resource;
    Mode mode;
    bool conversion;
  };
  struct Call {
    TxnId waiter;
    std::size_t spare;
    std::chrono::microseconds began;
    std::vector<Asked> waits{};  ///< in the order in which they began
    std::vector<std::pair<WaitHandle, Clause>> told{};
    bool left_out = false;  ///< counted
  };

  std::optional<GroupHandle> holder_group(Resource& at, const std::string& resource, Mode mode);
  void leave_front(Front& front);
  std::optional<GroupHandle> front_group(Resource& at, const std::string& resource, Mode mode);

  // Calls for some of several.
  void join_call(const WaitBegun& wait);
  void leave_call(Ticket ticket, WaitNumber wait);
  [[nodiscard]] std::vector<TxnId> in_the_way(const Asked& asked, const TxnId& waiter) const;
  void tell(Ticket ticket, Call& call);
  bool begin(Ticket ticket, Call& call, Clause clause);
  void end(WaitHandle wait);
  void tell_calls_at(const std::string& resource);

  const ModeMatrix& modes_;
  ReportSink& sink_;
  std::unordered_map<std::string, Resource> resources_;  // those that somebody waits for
  std::unordered_map<std::uint64_t, Known> waits_;       // by WaitNumber
  std::unordered_map<std::uint64_t, TableWait> by_handle_;
  std::unordered_map<std::uint64_t, Call> calls_;  // by Ticket
  std::unordered_map<std::uint64_t, Ticket> call_by_handle_;
  std::uint64_t left_out_ = 0;
};

}  // namespace gordian::agent
