// Which agent is asked for what, and in which order: one request if all lives at one agent, else one after the other in
// ascending order of names, so that calls for several resources never deadlock among each other.
#include <algorithm>

#include "lease/client_core.hpp"
#include "lease/client_errors.hpp"

namespace gordian::lease {
namespace {

using Code = LockError::Code;
using Scheme = wire::LockRequest::Scheme;

constexpr char separator = '/';
constexpr std::size_t items_max = wire::LockWireLimits{}.items_per_request;

}  // namespace

tl::expected<std::size_t, LockError> ClientCore::agent_named(const SiteId& site) const {
  for (std::size_t i = 0; i < agents_.size(); ++i)
    if (agents_[i].site == site) return i;
  return tl::unexpected(make_error(Code::invalid, "site " + site.str() + " is none of this client's agents"));
}

std::optional<LockError> ClientCore::complaint(std::span<const LockItem> items, const LockTerms& terms) const {
  if (items.empty() || items.size() > items_max)
    return make_error(
        items.empty() ? Code::invalid : Code::limit,
        std::to_string(items.size()) + " resources in one call, expected 1 to " + std::to_string(items_max));
  if (terms.scheme == Scheme::some && (terms.need == 0 || terms.need > items.size()))
    return make_error(Code::invalid,
                      "need of " + std::to_string(terms.need) + " of " + std::to_string(items.size()) + " resources");
  for (const LockItem& item : items) {
    if (item.key.empty()) return make_error(Code::invalid, "a resource has an empty name");
    if (item.key.size() > settings_.limits.name_bytes)
      return make_error(Code::limit, "a resource's name has " + std::to_string(item.key.size()) + " bytes, at most " +
                                         std::to_string(settings_.limits.name_bytes) + " are allowed");
    if (index(item.mode) >= settings_.modes.size())
      return make_error(Code::invalid, "mode " + std::to_string(index(item.mode)) + " is none of the client's modes");
  }
  return std::nullopt;
}

/// As the lock table splits it: a separator at the front belongs to the first part.
std::vector<ClientCore::Part> ClientCore::parts_of_path(std::string_view path, Mode mode) const {
  std::vector<Part> parts;
  if (const auto intention = settings_.modes.on_parents(mode))
    for (std::size_t end = path.find(separator, 1); end < path.size(); end = path.find(separator, end + 1))
      parts.push_back({std::string(path.substr(0, end)), *intention, parts.size()});
  parts.push_back({std::string(path), mode, parts.size()});
  return parts;
}

/// What a request asks for, by the places that its reply uses.
std::vector<ClientCore::Part> ClientCore::parts_of(const wire::LockRequest& request) const {
  const auto mode_of = [this](const std::string& name) { return settings_.modes.find(name).value(); };
  if (request.scheme == Scheme::path)
    return parts_of_path(request.items.front().name, mode_of(request.items.front().mode));
  std::vector<Part> parts;
  for (const auto& item : request.items) parts.push_back({item.name, mode_of(item.mode), parts.size()});
  return parts;
}

tl::expected<std::vector<ClientCore::Step>, LockError> ClientCore::plan(std::span<const LockItem> items,
                                                                        const LockTerms& terms) const {
  if (auto wrong = complaint(items, terms)) return tl::unexpected(std::move(*wrong));
  std::vector<Part> parts;
  if (terms.scheme == Scheme::path) {
    parts = parts_of_path(items.front().key, items.front().mode);
    if (parts.size() > items_max)
      return tl::unexpected(make_error(Code::limit, "a path of " + std::to_string(parts.size()) + " parts, at most " +
                                                        std::to_string(items_max) + " are allowed"));
  } else {
    for (const LockItem& item : items) parts.push_back({std::string(item.key), item.mode, parts.size()});
  }

  std::vector<std::size_t> agent_of(parts.size());
  if (terms.options.site) {
    const auto named = agent_named(*terms.options.site);
    if (!named) return tl::unexpected(named.error());
    std::fill(agent_of.begin(), agent_of.end(), *named);
  } else {
    for (const Part& part : parts) agent_of[part.place] = rendezvous(settings_.agents, part.name);
  }

  std::vector<Step> steps;
  if (std::all_of(agent_of.begin(), agent_of.end(), [&](std::size_t agent) { return agent == agent_of.front(); })) {
    steps.push_back({agent_of.front(), terms.scheme, std::move(parts)});
    return steps;
  }
  if (terms.scheme == Scheme::some)
    return tl::unexpected(
        make_error(Code::invalid, "these resources live at several agents; name the site for a choice among them"));
  std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.name < b.name; });
  for (Part& part : parts) {
    const std::size_t agent = agent_of[part.place];
    if (steps.empty() || steps.back().agent != agent) steps.push_back({agent, Scheme::all, {}});
    steps.back().parts.push_back(std::move(part));
  }
  return steps;
}

}  // namespace gordian::lease
