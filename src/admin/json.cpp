#include "admin/json.hpp"

#include "admin/json_object.hpp"

namespace gordian::admin {
namespace {

using coordinator::GraphView;
using coordinator::GroupView;
using coordinator::Incident;
using coordinator::IncidentEdge;
using coordinator::IncidentStep;
using coordinator::IncidentTxn;
using coordinator::SiteView;
using coordinator::StatusView;
using coordinator::TxnView;
using coordinator::WaitView;

// --- writing ---

constexpr const char* name(Kind kind) {
  switch (kind) {
    case Kind::hard: return "hard";
    case Kind::soft: return "soft";
    case Kind::dotted: return "dotted";
  }
  return "?";
}
constexpr const char* name(TxnInfo::Class victim_class) {
  return victim_class == TxnInfo::Class::never ? "never" : "normal";
}

Json txn(const TxnId& id, const TxnInfo& info) {
  Json json{{"txn", string(id)}, {"label", string(info.label)}};
  if (info.start) json["start"] = number(*info.start);
  json["priority"] = number(info.priority);
  json["locks"] = number(info.locks);
  json["work"] = number(info.work);
  json["restarts"] = number(info.restarts);
  json["class"] = name(info.victim_class);
  return json;
}

void add_wait_id(Json& json, const WaitId& id) {
  json["site"] = string(id.site);
  json["incarnation"] = id.incarnation;
  json["sequence"] = id.sequence;
}

Json json_of(const SiteView& site) {
  return {{"site", string(site.site)},
          {"state", coordinator::name(site.state)},
          {"engine", string(site.engine)},
          {"label", string(site.label)},
          {"software", string(site.software)},
          {"incarnation", site.incarnation},
          {"applied", site.applied},
          {"last_heard_ms", number(site.last_heard_ms)},
          {"waits", site.waits},
          {"resolve_local_deadlocks", site.resolve_local_deadlocks}};
}

Json json_of(const WaitView& view) {
  Json json;
  add_wait_id(json, view.id);
  json["waiter"] = string(view.wait.waiter);
  json["resource"] = string(view.wait.resource);
  json["mode"] = string(view.wait.mode);
  json["detail"] = string(view.wait.detail);
  json["age_ms"] = number(view.age_ms);
  json["reported_age_us"] = view.wait.age.count();
  json["blockers"] = Json::array();
  for (const auto& [id, kind] : view.wait.blockers)
    json["blockers"].push_back({{"txn", string(id)}, {"kind", name(kind)}});
  for (const auto group : view.wait.groups) json["groups"].push_back(static_cast<std::uint64_t>(group));
  if (view.wait.need != 0) json["need"] = view.wait.need;
  return json;
}

Json json_of(const GroupView& view) {
  Json json{{"site", string(view.site)},
            {"group", static_cast<std::uint64_t>(view.group)},
            {"resource", string(view.resource)},
            {"mode", string(view.mode)},
            {"members", Json::array()},
            {"members_total", view.members_total},
            {"kind", name(view.kind)}};
  for (const auto& member : view.members) json["members"].push_back(string(member));
  return json;
}

Json json_of(const IncidentEdge& edge) {
  Json json{{"waiter", string(edge.waiter)}, {"blocker", string(edge.blocker)}};
  add_wait_id(json, edge.wait);
  json["resource"] = string(edge.resource);
  json["mode"] = string(edge.mode);
  json["detail"] = string(edge.detail);
  json["age_ms"] = number(edge.age_ms);
  json["kind"] = name(edge.kind);
  if (edge.reordered) json["reordered"] = true;
  return json;
}

Json json_of(const Incident& incident) {
  Json json{{"id", string(incident.id)},
            {"epoch", incident.epoch},
            {"number", incident.number},
            {"found", text::utc(incident.found_unix_us)},
            {"found_unix_us", incident.found_unix_us},
            {"outcome", coordinator::name(incident.outcome)},
            {"policy", string(incident.policy)},
            {"why", string(incident.why)},
            {"confirm_us", incident.confirm_us},
            {"resolve_us", incident.resolve_us}};
  for (const char* list : {"victims", "txns", "edges", "steps"}) json[list] = Json::array();
  for (const auto& victim : incident.victims) json["victims"].push_back(string(victim));
  for (const auto& member : incident.txns) {
    json["txns"].push_back(txn(member.txn, member.info));
    json["txns"].back()["victim"] = member.victim;
  }
  for (const auto& edge : incident.edges) json["edges"].push_back(json_of(edge));
  for (const auto& step : incident.steps)
    json["steps"].push_back({{"after_us", step.after_us}, {"what", string(step.what)}});
  return json;
}

// --- reading ---

WaitId wait_id(const Object& object) {
  return {object.id<SiteId>("site"), object.get<std::uint64_t>("incarnation"), object.get<std::uint64_t>("sequence")};
}

TxnInfo txn_info(const Object& object) {
  TxnInfo info;
  if (object.has("start")) info.start = object.get<double>("start");
  info.priority = object.get<double>("priority");
  info.locks = object.get<double>("locks");
  info.work = object.get<double>("work");
  info.restarts = object.get<double>("restarts");
  info.victim_class = object.one_of<TxnInfo::Class>("class", {"normal", "never"});
  info.label = object.get<std::string>("label");
  return info;
}

Kind kind_of(const Object& object) { return object.one_of<Kind>("kind", {"hard", "soft", "dotted"}); }

SiteView site_of(const Object& object) {
  SiteView site{object.id<SiteId>("site"), object.get<std::string>("engine"), object.get<std::string>("label"),
                object.get<std::string>("software")};
  site.state = object.one_of<SiteView::State>("state", {"missing", "resyncing", "complete"});
  site.incarnation = object.get<std::uint64_t>("incarnation");
  site.applied = object.get<std::uint64_t>("applied");
  site.last_heard_ms = object.get<double>("last_heard_ms");
  site.waits = object.get<std::uint64_t>("waits");
  site.resolve_local_deadlocks = object.get<bool>("resolve_local_deadlocks");
  return site;
}

StatusView status_of(const Object& object) {
  StatusView status;
  status.version = object.get<std::string>("version");
  status.epoch = object.get<std::uint64_t>("epoch");
  status.uptime_s = object.get<double>("uptime_s");
  status.policy = object.get<std::string>("policy");
  status.degraded = object.get<bool>("degraded");
  status.txns = object.get<std::uint64_t>("txns");
  status.waits = object.get<std::uint64_t>("waits");
  status.edges = object.get<std::uint64_t>("edges");
  if (object.has("groups")) status.groups = object.get<std::uint64_t>("groups");
  object.each("sites", [&](const Json& json, const std::string& place) {
    status.sites.push_back(site_of({json, place}));
  });
  if (object.has("members"))
    object.each("members", [&](const Json& json, const std::string& place) {
      const Object member(json, place);
      status.members.push_back({member.get<std::string>("name"), member.get<std::string>("endpoint"),
                                member.get<bool>("self"), member.get<bool>("alive")});
    });
  const Object counters(object.at("counters"), "counters");
  for (const auto& [key, json] : object.at("counters").items())
    status.counters[text::bytes_of(key)] = value<std::uint64_t>(json, "counters." + key);
  return status;
}

WaitView wait_of(const Object& object) {
  WaitView view{wait_id(object),
                Wait{object.id<TxnId>("waiter"),
                     {},
                     object.get<std::string>("resource"),
                     object.get<std::string>("mode"),
                     object.get<std::string>("detail")},
                object.get<double>("age_ms")};
  view.wait.age = std::chrono::microseconds(object.get<std::int64_t>("reported_age_us"));
  object.each("blockers", [&](const Json& json, const std::string& place) {
    const Object blocker(json, place);
    view.wait.blockers.push_back({blocker.id<TxnId>("txn"), kind_of(blocker)});
  });
  if (object.has("need")) view.wait.need = static_cast<std::uint32_t>(object.get<std::uint64_t>("need"));
  if (object.has("groups"))
    object.each("groups", [&](const Json& json, const std::string& place) {
      view.wait.groups.push_back(GroupHandle{value<std::uint64_t>(json, place)});
    });
  return view;
}

GroupView group_of(const Object& object) {
  GroupView view{object.id<SiteId>("site"),
                 GroupHandle{object.get<std::uint64_t>("group")},
                 object.get<std::string>("resource"),
                 object.get<std::string>("mode"),
                 {},
                 object.get<std::uint64_t>("members_total")};
  object.each("members",
              [&](const Json& json, const std::string& place) { view.members.push_back(txn_id(json, place)); });
  if (object.has("kind")) view.kind = kind_of(object);
  return view;
}

GraphView graph_of(const Object& object) {
  GraphView graph;
  object.each("txns", [&](const Json& json, const std::string& place) {
    const Object txn(json, place);
    graph.txns.push_back({txn.id<TxnId>("txn"), txn_info(txn), txn.get<bool>("condemned")});
  });
  object.each("waits", [&](const Json& json, const std::string& place) {
    graph.waits.push_back(wait_of({json, place}));
  });
  graph.truncated = object.get<bool>("truncated");
  if (object.has("groups"))  // an older coordinator knows none
    object.each("groups", [&](const Json& json, const std::string& place) {
      graph.groups.push_back(group_of({json, place}));
    });
  return graph;
}

Incident incident_of(const Object& object) {
  Incident incident;
  incident.id = object.get<std::string>("id");
  incident.epoch = object.get<std::uint64_t>("epoch");
  incident.number = object.get<std::uint64_t>("number");
  incident.found_unix_us = object.get<std::int64_t>("found_unix_us");
  incident.outcome =
      object.one_of<Incident::Outcome>("outcome", {"resolving", "resolved", "unresolved", "failed", "dissolved"});
  incident.policy = object.get<std::string>("policy");
  incident.why = object.get<std::string>("why");
  incident.confirm_us = object.get<std::int64_t>("confirm_us");
  incident.resolve_us = object.get<std::int64_t>("resolve_us");
  object.each("victims",
              [&](const Json& json, const std::string& place) { incident.victims.push_back(txn_id(json, place)); });
  object.each("txns", [&](const Json& json, const std::string& place) {
    const Object txn(json, place);
    incident.txns.push_back({txn.id<TxnId>("txn"), txn_info(txn), txn.get<bool>("victim")});
  });
  object.each("edges", [&](const Json& json, const std::string& place) {
    const Object edge(json, place);
    incident.edges.push_back({edge.id<TxnId>("waiter"), edge.id<TxnId>("blocker"), wait_id(edge),
                              edge.get<std::string>("resource"), edge.get<std::string>("mode"),
                              edge.get<std::string>("detail"), edge.get<double>("age_ms")});
    if (edge.has("kind")) incident.edges.back().kind = kind_of(edge);  // not in those kept by an older coordinator
    if (edge.has("reordered")) incident.edges.back().reordered = edge.get<bool>("reordered");
  });
  object.each("steps", [&](const Json& json, const std::string& place) {
    const Object step(json, place);
    incident.steps.push_back({step.get<std::int64_t>("after_us"), step.get<std::string>("what")});
  });
  return incident;
}

}  // namespace

std::string to_json(const StatusView& status) {
  Json json{{"version", string(status.version)},
            {"epoch", status.epoch},
            {"uptime_s", number(status.uptime_s)},
            {"policy", string(status.policy)},
            {"degraded", status.degraded},
            {"txns", status.txns},
            {"waits", status.waits},
            {"edges", status.edges},
            {"groups", status.groups},
            {"sites", Json::array()},
            {"members", Json::array()},
            {"counters", Json::object()}};
  for (const auto& site : status.sites) json["sites"].push_back(json_of(site));
  for (const auto& member : status.members)
    json["members"].push_back({{"name", string(member.name)},
                               {"endpoint", string(member.endpoint)},
                               {"self", member.self},
                               {"alive", member.alive}});
  for (const auto& [key, count] : status.counters) json["counters"][string(key)] = count;
  return json.dump(2);
}

std::string to_json(const GraphView& graph) {
  Json json{{"txns", Json::array()}, {"waits", Json::array()}, {"truncated", graph.truncated}};
  for (const auto& view : graph.txns) {
    json["txns"].push_back(txn(view.txn, view.info));
    json["txns"].back()["condemned"] = view.condemned;
  }
  for (const auto& wait : graph.waits) json["waits"].push_back(json_of(wait));
  json["groups"] = Json::array();
  for (const auto& group : graph.groups) json["groups"].push_back(json_of(group));
  return json.dump(2);
}

std::string to_json(const Incident& incident) { return json_of(incident).dump(2); }

std::string to_json(const std::vector<Incident>& incidents) {
  Json json{{"incidents", Json::array()}};
  for (const auto& incident : incidents) json["incidents"].push_back(json_of(incident));
  return json.dump(2);
}

Parsed<StatusView> parse_status(std::string_view json) { return parse(json, status_of); }
Parsed<GraphView> parse_graph(std::string_view json) { return parse(json, graph_of); }
Parsed<std::vector<Incident>> parse_incidents(std::string_view json) {
  return parse(json, [](const Object& object) {
    std::vector<Incident> incidents;
    object.each("incidents", [&](const Json& each, const std::string& place) {
      incidents.push_back(incident_of({each, place}));
    });
    return incidents;
  });
}

std::string to_json(const Selection& selection) {
  Json json = Json::object();
  if (selection.limit) json["limit"] = *selection.limit;
  if (!selection.id.empty()) json["id"] = string(selection.id);
  return json.dump();
}

Parsed<Selection> parse_selection(std::string_view json) {
  if (json.empty()) return Selection{};
  return parse(json, [&](const Object& object) {
    const Json document = Json::parse(json);
    for (const auto& [key, unused] : document.items())
      if (key != "limit" && key != "id") throw Unexpected{"\"" + key + "\" is not known, expected limit or id"};
    Selection selection;
    if (object.has("limit")) selection.limit = object.get<std::uint64_t>("limit");
    if (object.has("id")) selection.id = object.get<std::string>("id");
    return selection;
  });
}

}  // namespace gordian::admin
