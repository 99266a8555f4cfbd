// What can be set of gordiand, with its defaults, and how it is declared as options.
#pragma once

#include <cstdint>
#include <string>

#include "config/options.hpp"
#include "coordinator/coordinator.hpp"
#include "gordiand/members.hpp"
#include "net/coordinator_server.hpp"
#include "store/history.hpp"

namespace gordian::gordiand {

struct Settings {
  net::ServerOptions server;
  coordinator::Options core;
  std::string endpoint_file;  ///< empty: none
  std::string history;        ///< empty: in memory only
  std::uint64_t max_history = store::History::default_incidents_max;
  MemberSettings members;  ///< but for `listen`
  std::string record;      ///< empty: nothing is recorded
  std::string log_level = "info";
  std::string log_format = "text";

  // As text or in the type that options have; read_back() puts them into `server` and `core`.
  std::string policy{detect::name(core.policy)};
  std::uint64_t confirm_attempts = core.confirm_attempts;
  std::uint64_t abort_attempts = core.abort_attempts;
  std::uint64_t max_send_queue = static_cast<std::uint64_t>(server.send_queue);

  void declare(config::Options& options);
  void read_back();

 private:
  [[nodiscard]] tl::expected<wire::MemberMap, std::string> map() const;
};

}  // namespace gordian::gordiand
