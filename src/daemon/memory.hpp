// How a service program deals with memory that it has freed.
#pragma once

namespace gordian::daemon {

/// Freed memory stays with the process, up to 64 MiB at its top: what one message needed is there for the next. Otherwise glibc
/// gives it back and gets it anew for every large message, which costs more than decoding it (docs/performance.md). Once, at
/// the start of main. Does nothing with other C libraries.
void keep_freed_memory();

}  // namespace gordian::daemon
