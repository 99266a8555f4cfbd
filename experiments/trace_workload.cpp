#include "experiments/trace_workload.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <unordered_map>

#include "experiments/workload.hpp"
#include "trace/reader.hpp"

namespace gordian::experiments {
namespace {

class Recorded : public Workload {
 public:
  Recorded(std::vector<Program> programs, std::uint64_t resources)
      : programs_(std::move(programs)), resources_(resources) {}
  void draw(Draw& random, Program& program) const override {
    const auto& drawn = programs_[random.below(programs_.size())];
    program.assign(drawn.begin(), drawn.end());
  }
  [[nodiscard]] std::uint64_t resources() const override { return resources_; }

 private:
  const std::vector<Program> programs_;
  const std::uint64_t resources_;
};

/// Puts the transactions together, line by line.
class Collector {
 public:
  void operator()(const trace::BeginWait& wait) {
    const auto resource = number(wait.site, wait.resource);
    const Mode held = wait.blockers.size() > 1 ? modes::S : modes::X;
    for (const auto& holder : wait.blockers) add(holder, resource, held);
    for (const auto& queued : wait.behind) add(queued, resource, modes::X);
    add(wait.txn, resource, modes::X);
  }
  void operator()(const trace::Holders& holders) {
    const auto resource = number(holders.site, holders.resource);
    for (const auto& holder : holders.txns) add(holder, resource, holders.txns.size() > 1 ? modes::S : modes::X);
  }
  void operator()(const trace::EndTxn& end) { open_.erase(end.txn); }
  void operator()(const auto&) {}

  [[nodiscard]] std::shared_ptr<const Workload> done() {
    if (programs_.empty()) return nullptr;
    return std::make_shared<const Recorded>(std::move(programs_), resources_.size());
  }

 private:
  std::uint32_t number(const SiteId& site, const std::string& resource) {
    return resources_.emplace(std::pair(site, resource), static_cast<std::uint32_t>(resources_.size())).first->second;
  }
  void add(const TxnId& txn, std::uint32_t resource, Mode mode) {
    const auto [at, is_new] = open_.try_emplace(txn, programs_.size());
    if (is_new) programs_.emplace_back();
    auto& program = programs_[at->second];
    if (std::ranges::find(program, resource, &Ask::resource) == program.end()) program.push_back({resource, mode});
  }

  std::map<std::pair<SiteId, std::string>, std::uint32_t> resources_;
  std::unordered_map<TxnId, std::size_t> open_;  ///< place in programs_
  std::vector<Program> programs_;
};

}  // namespace

tl::expected<std::shared_ptr<const Workload>, std::string> read_trace_workload(const std::string& file) {
  std::ifstream in(file);
  if (!in) return tl::unexpected(file + ": cannot be read; expected a trace (docs/trace-format.md)");
  trace::Reader reader(in, file);
  Collector collector;
  while (true) {
    const auto line = reader.next();
    if (!line) return tl::unexpected(trace::to_string(line.error()));
    if (!*line) break;
    std::visit(collector, (*line)->operation);
  }
  if (auto workload = collector.done()) return workload;
  return tl::unexpected(file + ": no transaction of this trace waits for or holds anything");
}

}  // namespace gordian::experiments
