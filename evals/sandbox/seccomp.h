#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay {

// The system call filter of every program: an allow list of what an interpreter without network, shared memory, locks
// on shared files, tracing or mounts needs. Anything else is refused with EPERM (clone3 with ENOSYS, so that libc falls
// back to clone); calls of another instruction set end the process.
//   One element is one 8-byte BPF instruction. Built once a sandbox by libseccomp. Errors: unavailable.
Result<std::vector<uint64_t>> build_seccomp_filter();

// The names allowed without a condition, for the documentation and tests.
std::vector<std::string_view> seccomp_allowed_names();

}  // namespace assay
