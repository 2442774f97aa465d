// Landlock by system call, with our own definitions: system headers may be older than the kernel, and the kernel takes
// any structure whose size it knows.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "evals/sandbox/child/child.h"

namespace assay::child {
namespace {

constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr int kPathBeneath = 1;

struct Ruleset {
  uint64_t files, net, scopes;
};
struct __attribute__((packed)) PathRule {
  uint64_t allowed;
  int32_t parent;
};

constexpr uint64_t kExecute = 1u << 0, kWriteFile = 1u << 1, kReadFile = 1u << 2, kReadFolder = 1u << 3;
constexpr uint64_t kRemoveFolder = 1u << 4, kRemoveFile = 1u << 5, kMakeFolder = 1u << 7, kMakeFile = 1u << 8;
constexpr uint64_t kMakeLink = 1u << 12, kRefer = 1u << 13, kTruncate = 1u << 14;
constexpr uint64_t kOwnFolder = kWriteFile | kReadFile | kReadFolder | kRemoveFolder | kRemoveFile | kMakeFolder |
                                kMakeFile | kMakeLink | kRefer | kTruncate;
constexpr uint64_t kFileRights = kExecute | kWriteFile | kReadFile | kTruncate;  // all that a rule on a file may hold

// Everything each version of the interface can deny.
uint64_t file_rights(uint32_t abi) {
  if (abi >= 5) return (1u << 16) - 1;
  if (abi >= 3) return (1u << 15) - 1;
  return abi == 2 ? (1u << 14) - 1 : (1u << 13) - 1;
}
size_t ruleset_size(uint32_t abi) { return abi >= 6 ? 24 : abi >= 4 ? 16 : 8; }

int allow(int ruleset, const char* path, uint64_t rights) {
  const int parent = open(path, O_PATH | O_CLOEXEC);
  if (parent < 0) return -1;
  struct stat status;
  PathRule rule{rights & file_rights(host.hello.landlock_abi), parent};
  const bool known = fstat(parent, &status) == 0;
  if (known && !S_ISDIR(status.st_mode)) rule.allowed &= kFileRights;
  const long result = known ? syscall(kAddRule, ruleset, kPathBeneath, &rule, 0) : -1;
  close(parent);
  return static_cast<int>(result);
}

int add_rules(int ruleset) {
  if (allow(ruleset, "/", kReadFolder) != 0) return -1;
  for (size_t i = 0; i < host.num_paths; ++i) {
    if (allow(ruleset, host.paths[i], kReadFile | kReadFolder) != 0) return -1;
  }
  if (allow(ruleset, host.interpreter, kReadFile | kExecute) != 0) return -1;
  if (host.loader && allow(ruleset, host.loader, kReadFile | kExecute) != 0) return -1;
  if (allow(ruleset, "/proc", kReadFile | kReadFolder) != 0) return -1;
  if (allow(ruleset, "/dev", kReadFile | kWriteFile) != 0) return -1;
  return allow(ruleset, "/tmp", kOwnFolder);
}

}  // namespace

int restrict_files() {
  if (fault_fails(Layer::landlock)) return -1;
  if (fault_skips(Layer::landlock)) return 0;
  const uint32_t abi = host.hello.landlock_abi;
  Ruleset wanted{file_rights(abi), 3, 3};  // TCP bind and connect; abstract sockets and signals to others
  const int ruleset = static_cast<int>(syscall(kCreateRuleset, &wanted, ruleset_size(abi), 0));
  if (ruleset < 0) return -1;
  const long result = add_rules(ruleset) == 0 ? syscall(kRestrictSelf, ruleset, 0) : -1;
  const int error = errno;
  close(ruleset);
  errno = error;
  return static_cast<int>(result);
}

}  // namespace assay::child
