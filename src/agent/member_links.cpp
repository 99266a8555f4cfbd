// The network's side of the router: which coordinators there are, and the connection to each.
#include <algorithm>
#include <limits>
#include <utility>

#include "agent/agent_router.hpp"

namespace gordian::agent {
namespace {

using Level = AgentCallbacks::Level;

// Nobody known has answered for so long: the endpoints that were given are tried again, for all may have moved.
constexpr std::int64_t lost_after_us = 5'000'000;

std::string names(const wire::MemberMap& map) {
  std::string text;
  for (const auto& member : map.members) text += (text.empty() ? "" : ", ") + member.name;
  return text;
}

}  // namespace

std::vector<std::string> endpoints_of(std::string_view list) {
  std::vector<std::string> endpoints;
  while (!list.empty() && endpoints.size() < wire::MemberMap::members_max) {
    const auto comma = std::min(list.find(','), list.size());
    auto one = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    if (!one.empty()) endpoints.emplace_back(one);
  }
  return endpoints;
}

AgentRouter::AgentRouter(Options options, std::vector<std::string> endpoints, std::int64_t now_us)
    : options_(std::move(options)), given_(std::move(endpoints)), heard_us_(now_us) {
  options_.cores = this;
  dial_all_given(now_us);
  if (links_.empty()) links_.push_back({LinkId{++last_link_}, {}, {}, std::make_unique<AgentCore>(options_, now_us)});
  owners_ = {links_.front().core.get()};
}

// --- Links ---

AgentRouter::Link& AgentRouter::dial(const std::string& endpoint, const std::string& member, std::int64_t now_us) {
  auto core = std::make_unique<AgentCore>(options_, now_us);
  if (!links_.empty()) core->know_what_is_known_to(*links_.front().core);
  links_.push_back({LinkId{++last_link_}, endpoint, member, std::move(core)});
  link_changes_.emplace_back(Dial{links_.back().id, endpoint});
  return links_.back();
}

void AgentRouter::redial(Link& link, const std::string& endpoint, std::int64_t now_us) {
  link_changes_.emplace_back(Hangup{link.id, std::nullopt});
  link.id = LinkId{++last_link_};
  link.endpoint = endpoint;
  link_changes_.emplace_back(Dial{link.id, endpoint});
  link.core->hello_again(options_.incarnation, now_us);
}

bool AgentRouter::dialled(const std::string& endpoint) const {
  return std::any_of(links_.begin(), links_.end(), [&](const Link& link) { return link.endpoint == endpoint; });
}

void AgentRouter::dial_all_given(std::int64_t now_us) {
  for (const auto& endpoint : given_)
    if (!dialled(endpoint)) dial(endpoint, {}, now_us);
}

bool AgentRouter::gave_up() const {
  return !online() && !std::all_of(given_.begin(), given_.end(), [this](const auto& given) { return dialled(given); });
}

bool AgentRouter::online() const {
  return std::any_of(links_.begin(), links_.end(), [](const Link& link) { return link.core->online(); });
}

void AgentRouter::hang_up_strangers() {
  for (auto link = links_.begin(); link != links_.end();) {
    if (link->bound) {
      ++link;
      continue;
    }
    link_changes_.emplace_back(Hangup{link->id, link->core->goodbye()});
    count(gone_, link->core->status());
    for (auto& call : link->core->take_upcalls())
      if (std::holds_alternative<Note>(call)) notes_.push_back(std::move(call));
    link = links_.erase(link);
  }
}

AgentRouter::Link* AgentRouter::find(LinkId id) {
  const auto it = std::find_if(links_.begin(), links_.end(), [&](const Link& link) { return link.id == id; });
  return it == links_.end() ? nullptr : &*it;
}

// --- The map ---

/// A coordinator accepted this agent, and says who shares the graph with it.
void AgentRouter::welcomed(Link& link, const wire::Welcome& welcome, std::int64_t now_us) {
  const bool alone = welcome.map.members.empty();
  const bool others = std::any_of(links_.begin(), links_.end(), [&](const Link& other) {
    return &other != &link && other.bound && other.core->online();
  });
  // One that is alone, where there were several or another, is followed if nobody else is there.
  const bool followed =
      !map_ || welcome.map.version > map_->version || (alone && !others && (!link.bound || !map_->members.empty()));
  if (followed) {
    if (!alone && (!map_ || *map_ != welcome.map))
      note(Level::info, "map " + std::to_string(welcome.map.version) + " of coordinators: " + names(welcome.map));
    map_ = welcome.map;
  } else if (*map_ != welcome.map && complained_of_.insert(welcome.member).second) {
    note(Level::warn, "coordinator " + welcome.member + " goes by map " + std::to_string(welcome.map.version) + " (" +
                          names(welcome.map) + "), this agent by map " + std::to_string(map_->version) + " (" +
                          names(*map_) + "): give all of them the same members, and a changed map a larger version");
  }
  if (followed) complained_of_.clear();
  const bool known = link.bound && (map_->members.empty() || link.member == welcome.member);
  if (known && !followed) return;
  link.member = map_->members.empty() ? std::string() : welcome.member;
  settle(link, now_us);
}

/// Gives each member of the map a link, each wait an owner, and ends the links that lead elsewhere. The one that was just
/// heard of leads to whom it says, wherever it was dialled.
void AgentRouter::settle(Link& heard, std::int64_t now_us) {
  for (auto& link : links_) {
    link.bound = false;
    if (&link != &heard && link.member == heard.member) link.member.clear();
  }
  owners_.clear();
  for (const auto& member : map_->members) {
    auto at = std::find_if(links_.begin(), links_.end(), [&](const Link& l) { return l.member == member.name; });
    if (at == links_.end())
      at = std::find_if(links_.begin(), links_.end(), [&](const Link& link) {
        return &link != &heard && link.member.empty() && link.endpoint == member.endpoint;
      });
    auto& link = at == links_.end() ? dial(member.endpoint, member.name, now_us) : *at;
    link.member = member.name;
    link.bound = true;
    owners_.push_back(link.core.get());
    if (&link != &heard && link.endpoint != member.endpoint) redial(link, member.endpoint, now_us);
  }
  if (owners_.empty()) {
    heard.bound = true;
    owners_.push_back(heard.core.get());
  }
  place_waits(now_us);
  hang_up_strangers();
}

// --- Messages ---

void AgentRouter::receive(LinkId id, const wire::ToAgent& message, std::int64_t now_us) {
  auto* const link = find(id);
  if (link == nullptr) return;
  link->core->receive(message, now_us);
  if (link->core->incarnation() != options_.incarnation) {
    options_.incarnation = link->core->incarnation();  // it was taken at one coordinator: no other may know the old one
    for (auto& other : links_)
      if (&other != link) other.core->hello_again(options_.incarnation, now_us);
  }
  if (const auto* ack = std::get_if<wire::HeartbeatAck>(&message)) {
    if (map_ && ack->map_version > map_->version) link->core->hello_again(options_.incarnation, now_us);
  } else if (const auto* welcome = std::get_if<wire::Welcome>(&message); welcome != nullptr && link->core->online()) {
    welcomed(*link, *welcome, now_us);
  }
}

void AgentRouter::send_failed(LinkId id, std::int64_t now_us) {
  if (auto* const link = find(id)) link->core->send_failed(now_us);
}

std::vector<LinkChange> AgentRouter::take_link_changes(std::int64_t now_us) {
  const bool dial_again = now_us >= heard_us_ + lost_after_us && gave_up();
  if (dial_again) dial_all_given(now_us);
  if (dial_again || online()) heard_us_ = now_us;
  return std::exchange(link_changes_, {});
}

std::vector<LinkMessage> AgentRouter::take_outgoing(std::int64_t now_us) {
  std::vector<LinkMessage> out;
  for (auto& link : links_) {
    if (link.endpoint.empty()) continue;  // there is no coordinator
    for (auto& message : link.core->take_outgoing(now_us)) out.push_back({link.id, std::move(message)});
  }
  return out;
}

bool AgentRouter::has_outgoing() const {
  return std::any_of(links_.begin(), links_.end(), [](const Link& link) { return link.core->has_outgoing(); });
}

std::int64_t AgentRouter::next_due_us() const {
  auto due = std::numeric_limits<std::int64_t>::max();
  for (const auto& link : links_)
    if (!link.endpoint.empty()) due = std::min(due, link.core->next_due_us());
  if (gave_up()) due = std::min(due, heard_us_ + lost_after_us);
  return due;
}

std::vector<LinkMessage> AgentRouter::farewells() const {
  std::vector<LinkMessage> messages;
  for (const auto& link : links_)
    if (!link.endpoint.empty()) messages.push_back({link.id, link.core->goodbye()});
  return messages;
}

}  // namespace gordian::agent
