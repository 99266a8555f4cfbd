// Lock tables and deadlock detection in one process: no network, no thread, no coordinator.
//
// The detector watches the tables it made, finds each deadlock at the moment it closes, across all of them, chooses a
// victim and aborts it: the victim's call fails with `deadlock` and the incident's name, and its locks are free. All of
// that happens on the thread whose call closed the circle, before that call returns, or on one that is at it already.
//
// Deadlocks through queues are found too (who stands behind a request waits for it), and broken by letting a waiter past that
// request where that is enough: nobody is aborted then. Calls for any or some of several
// resources (lock_some with need < the number of items) are left out of detection, and counted: they wait until they are
// granted or their deadline passes. Tables of Strategy::detect; a table with another strategy needs no detector.
#pragma once

#include <cstdint>
#include <functional>
#include <gordian/ids.hpp>
#include <gordian/lock_table.hpp>
#include <gordian/wait.hpp>
#include <memory>
#include <string>
#include <vector>

namespace gordian {

/// A deadlock that was found, and what was done about it.
struct LocalDeadlock {
  /// One transaction waiting for another.
  struct Edge {
    TxnId waiter;
    TxnId blocker;
    SiteId site;           ///< of the table
    std::string resource;  ///< what the waiter waits for
    std::string mode;      ///< in which mode it wants it
    Kind kind;             ///< hard: the blocker holds it; soft: it is queued ahead
  };
  std::string incident;         ///< as in the victims' errors: "local-1", counted per detector
  std::vector<TxnId> members;   ///< those who waited for each other, sorted
  std::vector<Edge> edges;      ///< between members: they all stood together at one instant
  std::vector<TxnId> victims;   ///< aborted; empty if all members are of class `never`, or a reorder was enough
  std::string why;              ///< one sentence about the choice
  std::vector<Edge> reordered;  ///< soft edges that are gone: the waiter was let past the blocker's request
};

struct LocalDetectorOptions {
  /// youngest, oldest, fewest_locks, least_work, lowest_priority, requester or weighted (docs/semantics.md).
  std::string policy = "youngest";
  /// What the policy shall know of a transaction beyond TxnOptions::start. Called on the thread that found the deadlock,
  /// outside all locks. Unset, or without `start`: the start that its table knows.
  std::function<TxnInfo(const TxnId&)> describe;
  /// Called after the victims were aborted, on the thread that found the deadlock, outside all locks; one call at a time.
  /// May call the tables. Must not throw.
  std::function<void(const LocalDeadlock&)> on_deadlock;
};

struct LocalDetectorStatus {
  std::size_t waits = 0;         ///< standing now
  std::uint64_t deadlocks = 0;   ///< broken
  std::uint64_t victims = 0;     ///< aborted
  std::uint64_t unresolved = 0;  ///< found, with members of class `never` only
  std::uint64_t dissolved = 0;   ///< ended by themselves (a timeout, a cancel) before the victim was aborted
  std::uint64_t reorders = 0;    ///< waits let past a request queued ahead, instead of an abort
  std::uint64_t left_out = 0;    ///< calls for some of several resources, and waits over a limit of the graph
};

/// Thread-safe. Must outlive all transactions of its tables.
class LocalDetector {
 public:
  /// Throws std::invalid_argument if there is no policy of that name.
  explicit LocalDetector(LocalDetectorOptions options = {});
  LocalDetector(const LocalDetector&) = delete;
  LocalDetector& operator=(const LocalDetector&) = delete;
  ~LocalDetector();

  /// A lock table that this detector watches; it lives as long as the detector. Transactions with the same id in several
  /// tables are one transaction: a victim is aborted in the table where it waits and in those where it blocks a member.
  /// Throws std::invalid_argument if the site has a table already, or the options name an observer.
  [[nodiscard]] LockTable& add_table(SiteId site, LockTableOptions options = {});

  [[nodiscard]] LocalDetectorStatus status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gordian
