#include "admin/lock_json.hpp"

#include "admin/json_object.hpp"

namespace gordian::admin {
namespace {

using lease::AuditRecord;
using lease::ForcedUnlock;
using lease::LockedResource;
using lease::LockHolder;
using lease::LockSelection;
using lease::LocksView;
using lease::LockWaiter;

Json json_of(const Fence& fence) { return {{"epoch", fence.epoch}, {"counter", fence.counter}}; }

Json json_of(const LockedResource& resource) {
  Json json{{"name", string(resource.name)}, {"holders", Json::array()}, {"waiters", Json::array()}};
  for (const LockHolder& holder : resource.holders)
    json["holders"].push_back({{"txn", string(holder.txn)},
                               {"mode", string(holder.mode)},
                               {"count", holder.count},
                               {"fence", json_of(holder.fence)},
                               {"since_unix_us", holder.since_unix_us},
                               {"client", string(holder.client)},
                               {"lease_left_us", holder.lease_left_us}});
  for (const LockWaiter& waiter : resource.waiters)
    json["waiters"].push_back({{"txn", string(waiter.txn)},
                               {"mode", string(waiter.mode)},
                               {"conversion", waiter.conversion},
                               {"since_unix_us", waiter.since_unix_us},
                               {"client", string(waiter.client)}});
  return json;
}

Fence fence_of(const Object& object) {
  return {object.get<std::uint64_t>("epoch"), object.get<std::uint64_t>("counter")};
}

LockedResource resource_of(const Object& object) {
  LockedResource resource{object.get<std::string>("name"), {}, {}};
  object.each("holders", [&](const Json& json, const std::string& place) {
    const Object holder(json, place);
    resource.holders.push_back(
        {holder.id<TxnId>("txn"), holder.get<std::string>("mode"), holder.get<std::uint64_t>("count"),
         fence_of({holder.at("fence"), holder.place("fence")}), holder.get<std::int64_t>("since_unix_us"),
         holder.get<std::string>("client"), holder.get<std::int64_t>("lease_left_us")});
  });
  object.each("waiters", [&](const Json& json, const std::string& place) {
    const Object waiter(json, place);
    resource.waiters.push_back({waiter.id<TxnId>("txn"), waiter.get<std::string>("mode"),
                                waiter.get<bool>("conversion"), waiter.get<std::int64_t>("since_unix_us"),
                                waiter.get<std::string>("client")});
  });
  return resource;
}

void only(std::string_view json, std::initializer_list<std::string_view> keys) {
  const Json document = Json::parse(json);
  for (const auto& [key, unused] : document.items()) {
    std::string expected;
    bool known = false;
    for (const auto each : keys) {
      known = known || key == each;
      expected += (expected.empty() ? "" : ", ") + std::string(each);
    }
    if (!known) throw Unexpected{"\"" + key + "\" is not known, expected one of: " + expected};
  }
}

}  // namespace

std::string to_json(const LocksView& view) {
  Json json{{"site", string(view.site)}, {"resources", Json::array()}, {"left_out", view.left_out}};
  for (const auto& resource : view.resources) json["resources"].push_back(json_of(resource));
  return json.dump(2);
}

std::string to_json(const ForcedUnlock& done) {
  Json json{{"name", string(done.name)}, {"aborted", Json::array()}, {"fence", json_of(done.fence)}};
  for (const auto& txn : done.aborted) json["aborted"].push_back(string(txn));
  return json.dump(2);
}

std::string to_json(const std::vector<AuditRecord>& audit) {
  Json json{{"audit", Json::array()}};
  for (const auto& record : audit)
    json["audit"].push_back({{"time", text::utc(record.unix_us)},
                             {"unix_us", record.unix_us},
                             {"what", string(record.what)},
                             {"why", string(record.why)},
                             {"by", string(record.by)}});
  return json.dump(2);
}

std::string to_json(const NodeStatus& s) {
  const lease::ServerStatus& l = s.locks;
  return Json{{"site", string(s.site)},
              {"version", string(s.version)},
              {"epoch", s.epoch},
              {"durability", s.journal ? "journal" : "none"},
              {"coordinator",
               {{"endpoint", string(s.coordinator)},
                {"connected", s.agent.connected},
                {"epoch", s.agent.epoch},
                {"published", s.agent.published},
                {"deltas_sent", s.agent.deltas_sent},
                {"snapshots_sent", s.agent.snapshots_sent},
                {"confirmations", s.agent.confirmations},
                {"aborts_done", s.agent.aborts_done},
                {"aborts_stale", s.agent.aborts_stale},
                {"reorders_done", s.agent.reorders_done},
                {"reorders_stale", s.agent.reorders_stale},
                {"waits_left_out", s.waits_left_out}}},
              {"sessions", l.sessions},
              {"txns", l.txns},
              {"locks", l.locks},
              {"waiting", l.waiting},
              {"held_back", l.held_back},
              {"grace_left_us", l.grace_left_us},
              {"counters",
               {{"requests", l.requests},
                {"repeated", l.repeated},
                {"granted", l.granted},
                {"expired_sessions", l.expired_sessions},
                {"reclaimed", l.reclaimed},
                {"aborted", l.aborted},
                {"forced", l.forced},
                {"reordered", l.reordered},
                {"limit_reached", l.limit_reached},
                {"refused_messages", l.refused_messages},
                {"stalled_us", l.stalled_us}}}}
      .dump(2);
}

std::string to_json(const LockSelection& selection) {
  return Json{{"resource", string(selection.resource)}, {"txn", string(selection.txn)}, {"limit", selection.limit}}
      .dump();
}

Parsed<LockSelection> parse_lock_selection(std::string_view json) {
  if (json.empty()) return LockSelection{};
  return parse(json, [&](const Object& object) {
    only(json, {"resource", "txn", "limit"});
    LockSelection selection;
    if (object.has("resource")) selection.resource = object.get<std::string>("resource");
    if (object.has("txn")) selection.txn = object.get<std::string>("txn");
    if (object.has("limit")) selection.limit = object.get<std::uint64_t>("limit");
    return selection;
  });
}

std::string to_json(const ForceArgument& argument) {
  return Json{{"name", string(argument.name)}, {"why", string(argument.why)}, {"by", string(argument.by)}}.dump();
}

Parsed<ForceArgument> parse_force(std::string_view json) {
  return parse(json, [&](const Object& object) {
    only(json, {"name", "why", "by"});
    ForceArgument argument{object.get<std::string>("name"), object.get<std::string>("why"), {}};
    if (object.has("by")) argument.by = object.get<std::string>("by");
    if (argument.why.empty()) throw Unexpected{"why: is empty; say why, it is written into the audit"};
    return argument;
  });
}

Parsed<LocksView> parse_locks(std::string_view json) {
  return parse(json, [](const Object& object) {
    LocksView view{object.get<std::string>("site"), {}, object.get<std::uint64_t>("left_out")};
    object.each("resources", [&](const Json& each, const std::string& place) {
      view.resources.push_back(resource_of({each, place}));
    });
    return view;
  });
}

Parsed<ForcedUnlock> parse_forced(std::string_view json) {
  return parse(json, [](const Object& object) {
    ForcedUnlock done{object.get<std::string>("name"), {}, fence_of({object.at("fence"), "fence"})};
    object.each("aborted",
                [&](const Json& each, const std::string& place) { done.aborted.push_back(txn_id(each, place)); });
    return done;
  });
}

Parsed<std::vector<AuditRecord>> parse_audit(std::string_view json) {
  return parse(json, [](const Object& object) {
    std::vector<AuditRecord> records;
    object.each("audit", [&](const Json& each, const std::string& place) {
      const Object record(each, place);
      records.push_back({record.get<std::int64_t>("unix_us"), record.get<std::string>("what"),
                         record.get<std::string>("why"), record.get<std::string>("by")});
    });
    return records;
  });
}

}  // namespace gordian::admin
