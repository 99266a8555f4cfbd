// Writes what agents report as a wait-for trace (docs/trace-format.md), for `gordian replay`.
//
// A trace knows a wait by transaction, site and resource, an agent by its sequence; this keeps the two together. A holder
// group becomes a resource of the trace, "k [S]", with its `holders`; a wait that names groups becomes one for each, and
// one for the blockers that it names itself. Soft and dotted blockers are left out, as the detector leaves them out.
// Not thread-safe: the journal's thread owns it. Cost: a group that changed, O(members) once before the next wait or flush.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <tl/expected.hpp>
#include <tuple>

#include "coordinator/coordinator.hpp"

namespace gordian::gordiand {

class Recorder {
 public:
  /// Begins the file. What an earlier run recorded there is kept as FILE.previous. The error is a sentence.
  [[nodiscard]] static tl::expected<Recorder, std::string> create(const std::filesystem::path& file,
                                                                  const std::string& policy);

  void applied(const coordinator::Applied& change);
  void site_gone(const SiteId& site);
  /// A comment, so that the place is found again by people.
  void incident(const coordinator::Incident& incident);

  /// Puts everything written so far on its way to the disk; false if the file could not be written.
  [[nodiscard]] bool flush();

 private:
  struct Standing {
    TxnId waiter;
    std::string resource;          ///< as written: made different where the transaction has two waits for one resource
    bool named = false;            ///< that resource is written: the wait names blockers itself
    std::set<std::string> groups;  ///< what it waits for besides, as written
  };
  struct Group {
    std::string resource;  ///< as written
    std::set<TxnId> members;
  };

  explicit Recorder(std::ofstream file) : file_(std::move(file)) {}
  void wait(const SiteId& site, const wire::WaitChange& change);
  void end_wait(const SiteId& site, std::uint64_t sequence);
  [[nodiscard]] std::string name_for(const SiteId& site, const wire::WaitChange& change) const;
  [[nodiscard]] std::set<std::string> group_names(const SiteId& site, const Wait& wait) const;
  void wait_for_groups(const SiteId& site, Standing& standing, std::set<std::string> groups, std::string_view mode);
  void unwait(const SiteId& site, const TxnId& waiter, const std::string& resource);
  void group(const SiteId& site, const wire::GroupChange& change);
  void member(const SiteId& site, GroupHandle group, const TxnId& txn, bool holds);
  void end_group(const SiteId& site, GroupHandle group);
  void write_holders();
  void describe(const SiteId& site, const wire::TxnChange& change);
  void forget(const SiteId& site, const TxnId& txn);

  std::ofstream file_;
  std::map<SiteId, std::map<std::uint64_t, Standing>> waits_;
  /// The names under which waits stand in the trace, and how many: two waits for one group are one there.
  std::map<std::tuple<SiteId, TxnId, std::string>, unsigned> taken_;
  std::map<SiteId, std::map<std::uint64_t, Group>> groups_;
  std::set<std::pair<SiteId, std::string>> group_names_;
  std::set<std::pair<SiteId, std::uint64_t>> changed_groups_;  ///< their holders are not written yet
  std::map<TxnId, std::map<SiteId, TxnInfo>> infos_;
};

}  // namespace gordian::gordiand
