// Files in, texts out; what a trace means is trace/'s.
#include "cli/replay.hpp"

#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "text/text.hpp"
#include "trace/replay.hpp"

namespace gordian::cli {
namespace {

using nlohmann::ordered_json;
using trace::Incident;
using trace::Outcome;

std::string list_of(const std::vector<TxnId>& txns) {
  std::string list;
  for (const auto& txn : txns) list.append(list.empty() ? "" : ", ").append(text::visible(txn.view()));
  return list;
}

/// "1 -> 2 [site 0, k1] -> 1 [site 0, k2]": in brackets where, and for what, the one before the arrow waits.
std::string drawn(const std::vector<trace::CycleEdge>& cycle) {
  auto text = text::visible(cycle.front().waiter.view());
  for (const auto& edge : cycle) {
    text += " -> " + text::visible(edge.blocker.view()) + " [site " + text::visible(edge.site.view());
    if (!edge.resource.empty()) text += ", " + text::visible(edge.resource);
    if (edge.kind != Kind::hard) text += ", " + std::string(trace::name(edge.kind));
    text += "]";
  }
  return text;
}

std::string reordered(const std::vector<trace::Reordered>& reorder) {
  std::string list;
  for (const auto& one : reorder) {
    list += (list.empty() ? "" : ", ") + text::visible(one.waiter.view()) + " before " +
            text::visible(one.behind.view()) + " [site " + text::visible(one.site.view());
    if (!one.resource.empty()) list += ", " + text::visible(one.resource);
    list += "]";
  }
  return list;
}

void print(std::ostream& out, const std::string& file, const Incident& incident) {
  out << file << ":" << incident.line << ": deadlock " << incident.number << ", "
      << (incident.victims.empty()
              ? "nobody is aborted"
              : (incident.victims.size() == 1 ? "victim " : "victims ") + list_of(incident.victims))
      << "\n  cycle       " << drawn(incident.cycle);
  if (!incident.reorder.empty()) out << "\n  reorder     " << reordered(incident.reorder);
  out << "\n  deadlocked  " << list_of(incident.deadlocked)
      << "\n  why         " << text::visible(incident.why) << " (policy " << detect::name(incident.policy) << ")\n";
}

void print_incidents(std::ostream& out, const ReplayOptions& options, const std::string& file, const Outcome& outcome) {
  for (const auto& incident : outcome.incidents) {
    if (options.format == ReplayOptions::Format::json) {
      out << to_json(incident) << "\n";
    } else {
      print(out, file, incident);
    }
  }
  if (outcome.incidents.empty() && !outcome.error && options.format == ReplayOptions::Format::text)
    out << file << ": no deadlock\n";
}

void print_check(std::ostream& out, const ReplayOptions& options, const std::string& file, const Outcome& outcome) {
  if (options.format == ReplayOptions::Format::text) {
    for (const auto& failed : outcome.failed)
      out << file << ":" << failed.line << ": " << text::visible(to_string(failed)) << "\n";
    return;
  }
  auto failures = ordered_json::array();
  for (const auto& failed : outcome.failed)
    failures.push_back(
        {{"line", failed.line}, {"key", failed.key}, {"expected", failed.expected}, {"found", failed.found}});
  ordered_json result{
      {"file", file}, {"holds", outcome.failed.empty() && !outcome.error}, {"failed", std::move(failures)}};
  if (outcome.error) result["error"] = to_string(*outcome.error);
  out << result.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
}

Outcome replay_file(const ReplayOptions& options, const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (in) return trace::replay(in, file, options.policy);
  Outcome outcome;
  outcome.error = trace::TraceError{trace::TraceError::Kind::malformed, file, 0,
                                    "found no file that can be opened, expected a wait-for trace"};
  return outcome;
}

}  // namespace

int run_replay(const ReplayOptions& options, std::ostream& out, std::ostream& err) {
  std::size_t holding = 0;
  bool any_failed = false;
  bool any_error = false;
  for (const auto& file : options.files) {
    const auto outcome = replay_file(options, file);
    if (options.check) {
      print_check(out, options, file, outcome);
    } else {
      print_incidents(out, options, file, outcome);
    }
    out.flush();
    if (outcome.error) err << text::visible(to_string(*outcome.error)) << std::endl;
    any_error |= outcome.error.has_value();
    any_failed |= !outcome.failed.empty();
    holding += outcome.failed.empty() && !outcome.error ? 1 : 0;
  }
  if (options.check && options.format == ReplayOptions::Format::text)
    out << holding << " of " << options.files.size() << " traces hold\n";
  if (any_error) return 2;
  return options.check && any_failed ? 1 : 0;
}

int run_replay(const ReplayOptions& options) { return run_replay(options, std::cout, std::cerr); }

}  // namespace gordian::cli
