// What a line of a wait-for trace says, as values (docs/trace-format.md). Reading is reader.hpp, doing is replay.hpp.
#pragma once

#include <cstdint>
#include <gordian/ids.hpp>
#include <gordian/wait.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "detect/victims.hpp"
#include "graph/wait_for_graph.hpp"

namespace gordian::trace {

struct Mode {
  bool on_demand = false;  ///< deadlocks are looked for by `detect` only
  std::optional<detect::Policy> policy;
  std::uint32_t coordinators = 1;  ///< how many share the graph, 1 to 64
};
/// What is not named stays as it was.
struct Begin {
  TxnId txn;
  std::optional<double> start;
  std::optional<double> priority;
  std::optional<double> locks;
  std::optional<double> work;
  std::optional<double> restarts;
  std::optional<TxnInfo::Class> victim_class;
  std::optional<std::string> label;
};
struct BeginWait {
  TxnId txn;
  std::vector<TxnId> blockers;  ///< as listed
  std::vector<TxnId> behind;    ///< queued ahead, as listed
  SiteId site;
  std::string resource;
  std::uint32_t need = graph::need_all;  ///< how many of `blockers`; need_all goes with `behind` and `for_holders`
  Kind kind = Kind::hard;                ///< of `blockers`; hard, if `for_holders`
  bool for_holders = false;              ///< no "for": whoever holds the resource, but the waiter itself
};
/// From now on exactly these hold the resource.
struct Holders {
  std::vector<TxnId> txns;  ///< as listed
  SiteId site;
  std::string resource;
};
struct EndWait {
  TxnId txn;
  std::optional<SiteId> site;           ///< none: at every site
  std::optional<std::string> resource;  ///< none: for every resource
};
struct EndTxn {
  TxnId txn;
};
struct LoseSite {
  SiteId site;
};
struct Detect {};
/// What is not named is not compared.
struct Expect {
  std::optional<std::vector<TxnId>> victims;
  std::optional<std::vector<TxnId>> deadlocked;
  std::optional<bool> reorder;
  std::optional<std::uint64_t> incidents;
};

using Operation = std::variant<Mode, Begin, BeginWait, Holders, EndWait, EndTxn, LoseSite, Detect, Expect>;

struct Line {
  std::size_t number;  ///< from 1
  Operation operation;
};

/// Why a trace cannot be replayed.
struct TraceError {
  enum class Kind : std::uint8_t {
    malformed,  ///< not a trace
    limit,      ///< more than the graph takes
  };
  Kind kind;
  std::string file;
  std::size_t line;     ///< from 1; 0: the file as a whole
  std::string message;  ///< "found …, expected …"
};

/// "FILE:LINE: found …, expected …"
inline std::string to_string(const TraceError& error) {
  return error.file + ":" + (error.line == 0 ? "" : std::to_string(error.line) + ":") + " " + error.message;
}

}  // namespace gordian::trace
