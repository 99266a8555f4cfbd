// The views as text for people: tables, and the story of one incident. Pure; JSON is admin's, pictures are viz's.
#pragma once

#include <string>
#include <vector>

#include "coordinator/views.hpp"

namespace gordian::cli {

/// The coordinator's state, what is missing first, then its sites and counters.
[[nodiscard]] std::string status_text(const coordinator::StatusView& status);

/// One line per incident, in the order given.
[[nodiscard]] std::string deadlocks_table(const std::vector<coordinator::Incident>& incidents);

/// Who waited for what where and since when, the victim and why, who was spared, and each step with its time.
[[nodiscard]] std::string story(const coordinator::Incident& incident);

}  // namespace gordian::cli
