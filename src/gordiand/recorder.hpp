// Writes what agents report as a wait-for trace (docs/trace-format.md), for `gordian replay`.
//
// A trace knows a wait by transaction, site and resource, an agent by its sequence; this keeps the two together. Soft and
// dotted blockers are left out, as the detector leaves them out. Not thread-safe: the journal's thread owns it.
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
    std::string resource;  ///< as written: made different where the transaction has two waits for one resource
  };

  explicit Recorder(std::ofstream file) : file_(std::move(file)) {}
  void wait(const SiteId& site, const wire::WaitChange& change);
  void end_wait(const SiteId& site, std::uint64_t sequence);
  void describe(const SiteId& site, const wire::TxnChange& change);
  void forget(const SiteId& site, const TxnId& txn);

  std::ofstream file_;
  std::map<SiteId, std::map<std::uint64_t, Standing>> waits_;
  std::set<std::tuple<SiteId, TxnId, std::string>> taken_;  ///< the names under which waits stand in the trace
  std::map<TxnId, std::map<SiteId, TxnInfo>> infos_;
};

}  // namespace gordian::gordiand
