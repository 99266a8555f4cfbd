// What several coordinators that share a graph answer, put together.
#pragma once

#include <vector>

#include "coordinator/views.hpp"

namespace gordian::cli {

/// Newest first, each once, at most `limit` (0: all).
[[nodiscard]] std::vector<coordinator::Incident> merged(std::vector<std::vector<coordinator::Incident>> of_each,
                                                        std::size_t limit);

/// Each wait is at its owner only; groups and transactions may be at several: of a group the members of all are shown.
[[nodiscard]] coordinator::GraphView merged(const std::vector<coordinator::GraphView>& of_each);

}  // namespace gordian::cli
