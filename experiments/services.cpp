#include "experiments/services.hpp"

#include <nlohmann/json.hpp>

#include "net/query.hpp"

namespace gordian::experiments {
namespace {

using Json = nlohmann::json;

std::string member(std::size_t place) { return "m" + std::to_string(place); }

std::string ask(const std::string& endpoint) {
  auto answer = net::query(endpoint, "status", "", std::chrono::seconds(5));
  if (!answer) throw std::runtime_error(answer.error().message);
  return *std::move(answer);
}

}  // namespace

Services::Services(const TemporaryFolder& folder, const ServicesOptions& options) : folder_(folder), options_(options) {
  if (options.agents > agents_max) throw std::runtime_error("more agents than names for them");
  for (std::size_t i = 0; i < options.coordinators; ++i) start_coordinator(i);
  for (std::size_t i = 0; i < options.coordinators; ++i)
    coordinators_.push_back(endpoint_in(folder / (member(i) + ".endpoint")));
  for (std::size_t i = 0; i < options.agents; ++i) start_agent(i);
  if (options.coordinators > 0)
    wait_until([&] { return complete_sites() == options_.agents * options_.coordinators; },
               "all agents are known to all coordinators");
}

std::string Services::coordinator_status_json(std::size_t coordinator) const { return ask(coordinators_[coordinator]); }
std::string Services::agent_status_json(std::size_t agent) const { return ask(addresses_[agent].endpoint); }

std::uint64_t Services::counter(const std::string& name) const {
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < coordinators_.size(); ++i)
    all += Json::parse(coordinator_status_json(i))["counters"].value(name, std::uint64_t{0});
  return all;
}

std::string Services::listen(const std::string& name) const {
  return options_.transport == "ipc" ? "ipc://" + (folder_ / name) : std::string("tcp://127.0.0.1:*");
}

void Services::start_coordinator(std::size_t place) {
  std::vector<std::string> arguments{options_.programs + "/gordiand",
                                     "--listen",
                                     listen(member(place)),
                                     "--endpoint-file",
                                     folder_ / (member(place) + ".endpoint"),
                                     "--history",
                                     "",
                                     "--log-level",
                                     "error"};
  for (std::size_t i = 0; i < options_.coordinators && options_.coordinators > 1; ++i) {
    arguments.insert(arguments.end(), {"--peer", member(i) + "=" + listen(member(i))});
    if (i == place) arguments.insert(arguments.end(), {"--member", member(i)});
  }
  arguments.insert(arguments.end(), options_.coordinator_flags.begin(), options_.coordinator_flags.end());
  gordiands_.push_back(std::make_unique<Child>(arguments));
}

void Services::start_agent(std::size_t place) {
  const std::string site(1, static_cast<char>('a' + place));
  std::vector<std::string> arguments{options_.programs + "/gordian-agent",
                                     "--site",
                                     site,
                                     "--listen",
                                     listen(site),
                                     "--endpoint-file",
                                     folder_ / (site + ".endpoint"),
                                     "--state",
                                     folder_ / (site + ".state"),
                                     "--coordinator",
                                     coordinators_.empty() ? "" : coordinators_.front(),
                                     "--log-level",
                                     "error"};
  arguments.insert(arguments.end(), options_.agent_flags.begin(), options_.agent_flags.end());
  agents_.push_back(std::make_unique<Child>(arguments));
  addresses_.push_back({SiteId(site), endpoint_in(folder_ / (site + ".endpoint"))});
}

std::size_t Services::complete_sites() const {
  std::size_t complete = 0;
  for (std::size_t i = 0; i < coordinators_.size(); ++i) {
    const auto status = Json::parse(coordinator_status_json(i));
    for (const auto& site : status["sites"]) complete += site["state"] == "complete" ? 1 : 0;
  }
  return complete;
}

}  // namespace gordian::experiments
