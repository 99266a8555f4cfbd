// Turns what a lock table tells its observer into an agent's reports: waits that name holder groups.
//
// The holders of a resource in one mode are one group, hard; the request that a mode's waiters stand behind is a group of one,
// soft: LockTable::advance lets a waiter past it. A call for any or some of several
// resources is left out and counted: its waits are no deadlock by themselves.
//
// Not thread-safe: a host whose table is used by several threads locks around it (embed/table_agent.cpp).
#pragma once

#include <array>
#include <gordian/agent.hpp>
#include <gordian/lock_table.hpp>
#include <optional>
#include <string>
#include <unordered_map>

namespace gordian::agent {

/// Where the reports go: an Agent, or an AgentCore.
class ReportSink {
 public:
  virtual ~ReportSink() = default;
  virtual std::optional<WaitHandle> begin_wait(Wait wait) = 0;
  virtual void end_wait(WaitHandle wait) = 0;
  virtual std::optional<GroupHandle> begin_group(std::string resource, std::string mode, Kind kind) = 0;
  virtual void join_group(GroupHandle group, const TxnId& txn) = 0;
  virtual void leave_group(GroupHandle group, const TxnId& txn) = 0;
  virtual void end_group(GroupHandle group) = 0;
  /// A transaction is about to be named.
  virtual void named(const TxnId& txn) = 0;
};

class TableReporter : public WaitObserver {
 public:
  TableReporter(const ModeMatrix& modes, ReportSink& sink) : modes_(modes), sink_(sink) {}

  /// The table's own name of a reported wait; none if it is over.
  struct TableWait {
    WaitNumber number;
    std::string resource;
  };
  [[nodiscard]] std::optional<TableWait> find(WaitHandle wait) const;
  /// The other way round: none if it is over, or was not reported.
  [[nodiscard]] std::optional<WaitHandle> reported_as(WaitNumber wait) const;
  /// Waits that were not reported: of calls for some of several resources, or over the agent's limits.
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
  };
  struct Known {
    std::optional<WaitHandle> handle;
    TxnId waiter;
  };

  std::optional<GroupHandle> holder_group(Resource& at, const std::string& resource, Mode mode);
  void leave_front(Front& front);
  std::optional<GroupHandle> front_group(Resource& at, const std::string& resource, Mode mode);

  const ModeMatrix& modes_;
  ReportSink& sink_;
  std::unordered_map<std::string, Resource> resources_;  // those that somebody waits for
  std::unordered_map<std::uint64_t, Known> waits_;       // by WaitNumber
  std::unordered_map<std::uint64_t, TableWait> by_handle_;
  std::uint64_t left_out_ = 0;
};

}  // namespace gordian::agent
