// The lines as nlohmann/json writes them. Ids are bytes, JSON is text: text/ makes the one of the other.
#include "trace/writer.hpp"

#include <cmath>
#include <nlohmann/json.hpp>

#include "text/text.hpp"

namespace gordian::trace {
namespace {

using nlohmann::ordered_json;

std::string hash_of(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  std::string hex;
  for (int shift = 60; shift >= 0; shift -= 4) hex.push_back("0123456789abcdef"[hash >> shift & 15U]);
  return hex;
}

/// An id as text that fits an id: what gets too long by its escapes is shortened, and told apart by its hash.
template <class Id>
std::string text_of(const Id& id) {
  constexpr std::size_t shortened_characters = 24;  // of at most 4 bytes each
  auto text = text::utf8(id.view());
  if (text.size() <= Id::max_bytes) return text;
  return text::shortened(id.view(), shortened_characters) + "~" + hash_of(id.view());
}

ordered_json list_of(std::span<const TxnId> txns) {
  auto list = ordered_json::array();
  for (const auto& txn : txns) list.push_back(text_of(txn));
  return list;
}

std::string line_of(const ordered_json& operation) { return operation.dump() + "\n"; }

}  // namespace

std::string begin_line(const TxnId& txn, const TxnInfo& info) {
  ordered_json operation{{"op", "begin"}, {"txn", text_of(txn)}};
  if (info.start && std::isfinite(*info.start)) operation["start"] = *info.start;
  const auto number = [&](const char* key, double value) {
    if (value != 0 && std::isfinite(value)) operation[key] = value;
  };
  number("priority", info.priority);
  number("locks", info.locks);
  number("work", info.work);
  number("restarts", info.restarts);
  if (info.victim_class == TxnInfo::Class::never) operation["class"] = "never";
  if (!info.label.empty()) operation["label"] = text::utf8(info.label);
  return line_of(operation);
}

std::string wait_line(const WaitLine& wait) {
  ordered_json operation{{"op", "wait"}, {"txn", text_of(wait.txn)}};
  if (!wait.for_holders) operation["for"] = list_of(wait.holders);
  if (!wait.behind.empty()) operation["behind"] = list_of(wait.behind);
  operation["site"] = text_of(wait.site);
  operation["resource"] = text::utf8(wait.resource);
  if (wait.need > 0) operation["need"] = wait.need;
  if (wait.dotted) operation["kind"] = "dotted";
  if (!wait.mode.empty()) operation["mode"] = text::utf8(wait.mode);
  return line_of(operation);
}

std::string holders_line(const SiteId& site, std::string_view resource, std::span<const TxnId> txns) {
  return line_of(
      {{"op", "holders"}, {"site", text_of(site)}, {"resource", text::utf8(resource)}, {"txns", list_of(txns)}});
}

std::string unwait_line(const TxnId& txn, const SiteId& site, std::string_view resource) {
  return line_of(
      {{"op", "unwait"}, {"txn", text_of(txn)}, {"site", text_of(site)}, {"resource", text::utf8(resource)}});
}

std::string end_line(const TxnId& txn) { return line_of({{"op", "end"}, {"txn", text_of(txn)}}); }

std::string lost_line(const SiteId& site) { return line_of({{"op", "lost"}, {"site", text_of(site)}}); }

}  // namespace gordian::trace
