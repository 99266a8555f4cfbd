// What went wrong with a file of this room's.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace gordian::store {

/// What happened, to which file, and what to do.
struct StoreError {
  std::string message;
};
template <class T>
using Result = tl::expected<T, StoreError>;

}  // namespace gordian::store
