// Who waits for whom, rebuilt from nothing but what a lock table tells its observer; and the graph and detector fed from it.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <gordian/lock_table.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "detect/detector.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::test {

class Mirror : public WaitObserver {
 public:
  struct Resource {
    std::map<Mode, std::multiset<TxnId>> groups;
    std::map<WaitNumber, WaitBegun> waits;
    std::map<Mode, WaitNumber> fronts;
    std::uint64_t step = 0;
  };
  std::map<std::string, Resource> resources;
  std::size_t calls = 0;

  void wait_begun(const WaitBegun& wait) override {
    CHECK(at(wait.resource, wait.step).waits.emplace(wait.wait, wait).second);
  }
  void wait_ended(WaitNumber wait, const std::string& resource, std::uint64_t step) override {
    CHECK(at(resource, step).waits.erase(wait) == 1);
  }
  void holder_joined(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    at(resource, step).groups[group].insert(txn);
  }
  void holder_left(const std::string& resource, Mode group, const TxnId& txn, std::uint64_t step) override {
    auto& members = at(resource, step).groups[group];
    const auto member = members.find(txn);
    REQUIRE(member != members.end());
    members.erase(member);
  }
  void front_changed(const std::string& resource, Mode mode, std::optional<WaitNumber> front,
                     std::uint64_t step) override {
    auto& fronts = at(resource, step).fronts;
    if (front) {
      fronts.insert_or_assign(mode, *front);
    } else {
      CHECK(fronts.erase(mode) == 1);
    }
  }
  void resource_calm(const std::string& resource, std::uint64_t step) override {
    CHECK(at(resource, step).waits.empty());
    resources.erase(resource);
  }

  [[nodiscard]] std::optional<WaitNumber> wait_of(const TxnId& txn, const std::string& resource) const {
    if (const auto at = resources.find(resource); at != resources.end())
      for (const auto& [number, wait] : at->second.waits)
        if (wait.waiter == txn) return number;
    return std::nullopt;
  }

  /// The blockers of one wait as the events tell them.
  [[nodiscard]] std::vector<Blocker> blockers(const Resource& resource, const WaitBegun& wait) const {
    std::vector<Blocker> blockers;
    for (const auto& [mode, members] : resource.groups)
      if (has(wait.groups, mode))
        for (const TxnId& member : members)
          if (member != wait.waiter || !wait.conversion) blockers.push_back({member, Kind::hard});
    if (blockers.empty() && !wait.conversion)
      if (const auto front = resource.fronts.find(wait.mode); front != resource.fronts.end())
        if (const auto ahead = resource.waits.find(front->second); ahead != resource.waits.end())
          blockers.push_back({ahead->second.waiter, Kind::soft});
    std::sort(blockers.begin(), blockers.end());
    return blockers;
  }

  /// Compares every wait with what the table says when it is asked by name.
  void check_against(const LockTable& table) const {
    for (const auto& [name, resource] : resources)
      for (const auto& [number, wait] : resource.waits) {
        std::vector<Blocker> asked;
        for (const BlockerView& blocker : table.blockers(name, number)) {
          asked.push_back({blocker.txn, blocker.kind});
          if (blocker.kind == Kind::soft) continue;
          CHECK(table.held_since(name, blocker.txn, blocker.since));
          CHECK_FALSE(table.held_since(name, blocker.txn, blocker.since - 1));
        }
        std::sort(asked.begin(), asked.end());
        CHECK(asked == blockers(resource, wait));
        CHECK_FALSE(asked.empty());
        CHECK(table.waits(name, number));
      }
  }

  /// Victims of all deadlocks that stand now, by the detector and the default policy; ids such as "T12" by their number.
  [[nodiscard]] std::vector<TxnId> victims() const {
    graph::WaitForGraph graph;
    for (const auto& [name, resource] : resources)
      for (const auto& [number, wait] : resource.waits) {
        std::vector<TxnId> ids;
        for (const Blocker& blocker : blockers(resource, wait)) ids.push_back(blocker.txn);
        REQUIRE(graph.begin_wait({0, static_cast<std::uint64_t>(number)}, wait.waiter, ids));
      }
    const auto info = [](const TxnId& id) {
      TxnInfo of;
      of.start = std::stod(id.str().substr(1));
      return of;
    };
    std::vector<TxnId> victims;
    for (const auto& candidate : detect::Detector(graph).full_pass())
      for (const TxnId& victim : detect::choose_victims(candidate.edges, info, detect::Policy::youngest).victims)
        victims.push_back(victim);
    return victims;
  }

 private:
  Resource& at(const std::string& name, std::uint64_t step) {
    ++calls;
    Resource& resource = resources[name];
    CHECK(step >= resource.step);
    resource.step = step;
    return resource;
  }
};

}  // namespace gordian::test
