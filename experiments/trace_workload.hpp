// The transactions of a recorded wait-for trace as a workload.
#pragma once

#include <memory>
#include <string>
#include <tl/expected.hpp>

namespace gordian::experiments {

class Workload;

/// A trace tells who waited and for whom, so what is known of a transaction are the resources that it waited for and those
/// that others waited for while it held them, in the order in which they were first told; of locks that nobody ever waited
/// for it knows nothing. Who holds a resource together with others asks for it shared, everybody else exclusively.
/// Errors: the file cannot be read, is no trace, or has no transaction that locks anything.
[[nodiscard]] tl::expected<std::shared_ptr<const Workload>, std::string> read_trace_workload(const std::string& file);

}  // namespace gordian::experiments
