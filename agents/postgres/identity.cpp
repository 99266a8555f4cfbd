#include "postgres/identity.hpp"

#include <cstdint>
#include <optional>

namespace gordian::postgres {
namespace {

/// FNV-1a, 64 bits: the same on every agent, so that one over-long id is one transaction at all sites.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

std::string hex(std::uint64_t value) {
  std::string digits;
  for (int shift = 60; shift >= 0; shift -= 4) digits += "0123456789abcdef"[(value >> shift) & 0xf];
  return digits;
}

std::optional<TxnId> named_by(const std::regex& pattern, std::string_view text) {
  std::cmatch match;
  if (!std::regex_search(text.data(), text.data() + text.size(), match, pattern) || match[1].length() == 0)
    return std::nullopt;
  return fitting_id({match[1].first, static_cast<std::size_t>(match[1].length())});
}

}  // namespace

tl::expected<std::regex, std::string> parse_id_pattern(const std::string& pattern) {
  try {
    std::regex regex(pattern, std::regex::ECMAScript | std::regex::optimize);
    if (regex.mark_count() == 1) return regex;
    return tl::unexpected("\"" + pattern + "\" has " + std::to_string(regex.mark_count()) +
                          " groups, expected exactly one (the id), as in \"^gtx:(.+)$\"");
  } catch (const std::regex_error& error) {
    return tl::unexpected("\"" + pattern + "\" is not a regular expression (" + error.what() +
                          "), expected one such as \"^gtx:(.+)$\"");
  }
}

Identity::Identity(SiteId site, std::regex application_pattern, std::regex gid_pattern)
    : site_(std::move(site)),
      application_pattern_(std::move(application_pattern)),
      gid_pattern_(std::move(gid_pattern)) {}

TxnId Identity::of_session(const Branch& branch, std::string_view application_name) const {
  if (auto named = named_by(application_pattern_, application_name)) return *std::move(named);
  return fitting_id(site_.str() + "/" + std::to_string(branch.pid) + "/" + std::to_string(branch.backend_start_us) +
                    "/" + std::to_string(branch.xact_start_us));
}

TxnId Identity::of_prepared(const Branch& branch) const {
  if (auto named = named_by(gid_pattern_, branch.gid)) return *std::move(named);
  return fitting_id(site_.str() + "/prepared/" + branch.gid + "/" + std::to_string(branch.xact_start_us));
}

TxnId fitting_id(std::string_view text) {
  if (text.size() <= TxnId::max_bytes) return TxnId(text);
  const std::string tail = "~" + hex(hash_of(text));
  return TxnId(std::string(text.substr(0, TxnId::max_bytes - tail.size())) + tail);
}

}  // namespace gordian::postgres
