// What gordiand answers to queries of the command line.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "coordinator/coordinator.hpp"
#include "gordiand/journal.hpp"

namespace gordian::gordiand {

/// JSON (admin/json.hpp) for "status", "graph" and "incidents", or a sentence that says what is wrong with the query.
/// Runs on the server's thread, so answers are limited: see docs/cli.md.
[[nodiscard]] tl::expected<std::string, std::string> answer(const coordinator::Coordinator& core, coordinator::Time now,
                                                            std::string_view what, std::string_view argument,
                                                            Journal& journal);

}  // namespace gordian::gordiand
