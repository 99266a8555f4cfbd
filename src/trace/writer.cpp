// The lines as nlohmann/json writes them; its dump() is also what decides whether bytes are UTF-8.
#include "trace/writer.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

namespace gordian::trace {
namespace {

using nlohmann::ordered_json;

bool is_utf8(std::string_view text) {
  try {
    (void)ordered_json(text).dump();
    return true;
  } catch (const ordered_json::type_error&) {
    return false;
  }
}

std::string hash_of(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  std::string hex;
  for (int shift = 60; shift >= 0; shift -= 4) hex.push_back("0123456789abcdef"[hash >> shift & 15U]);
  return hex;
}

/// Fits an id's 128 bytes in any case.
std::string text_of(std::string_view bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  constexpr std::size_t readable_bytes = 100;
  std::string readable;
  for (const char c : bytes.substr(0, readable_bytes)) readable.push_back(c >= ' ' && c <= '~' ? c : '?');
  return readable + "~" + hash_of(bytes);
}

ordered_json list_of(std::span<const TxnId> txns) {
  auto list = ordered_json::array();
  for (const auto& txn : txns) list.push_back(text_of(txn.view()));
  return list;
}

std::string line_of(const ordered_json& operation) { return operation.dump() + "\n"; }

}  // namespace

std::string begin_line(const TxnId& txn, const TxnInfo& info) {
  ordered_json operation{{"op", "begin"}, {"txn", text_of(txn.view())}};
  if (info.start && std::isfinite(*info.start)) operation["start"] = *info.start;
  const auto number = [&](const char* key, double value) {
    if (value != 0 && std::isfinite(value)) operation[key] = value;
  };
  number("priority", info.priority);
  number("locks", info.locks);
  number("work", info.work);
  number("restarts", info.restarts);
  if (info.victim_class == TxnInfo::Class::never) operation["class"] = "never";
  if (!info.label.empty()) operation["label"] = text_of(info.label);
  return line_of(operation);
}

std::string wait_line(const WaitLine& wait) {
  ordered_json operation{{"op", "wait"}, {"txn", text_of(wait.txn.view())}, {"for", list_of(wait.holders)}};
  if (!wait.behind.empty()) operation["behind"] = list_of(wait.behind);
  operation["site"] = text_of(wait.site.view());
  operation["resource"] = text_of(wait.resource);
  if (wait.dotted) operation["kind"] = "dotted";
  if (!wait.mode.empty()) operation["mode"] = text_of(wait.mode);
  return line_of(operation);
}

std::string unwait_line(const TxnId& txn, const SiteId& site, std::string_view resource) {
  return line_of({{"op", "unwait"},
                  {"txn", text_of(txn.view())},
                  {"site", text_of(site.view())},
                  {"resource", text_of(resource)}});
}

std::string end_line(const TxnId& txn) { return line_of({{"op", "end"}, {"txn", text_of(txn.view())}}); }

std::string lost_line(const SiteId& site) {
  return line_of({{"op", "lost"}, {"site", text_of(site.view())}});
}

}  // namespace gordian::trace
