// What `assay doctor` shows: every layer tried by itself, in a child that does nothing else.
#include <fmt/format.h>
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "evals/sandbox/cgroup.h"
#include "evals/sandbox/launcher.h"
#include "evals/sandbox/sandbox.h"
#include "evals/sandbox/seccomp.h"

namespace assay {
namespace {

struct Namespace {
  const char* name;
  unsigned long flag;
};
constexpr Namespace kNamespaces[] = {
    {"user", 0},           {"pid", CLONE_NEWPID}, {"mount", CLONE_NEWNS},        {"net", CLONE_NEWNET},
    {"ipc", CLONE_NEWIPC}, {"uts", CLONE_NEWUTS}, {"cgroup-ns", CLONE_NEWCGROUP}};

// 0, or the errno with which an ordinary user's process cannot make it. Only system calls between fork and exit: other
// threads may hold any lock.
int try_namespace(unsigned long flag) {
  const pid_t pid = ::fork();
  if (pid < 0) return errno;
  if (pid == 0) {
    if (::getuid() == 0) {
      ::syscall(SYS_setgroups, 0, nullptr);
      ::syscall(SYS_setresgid, child::kInsideId, child::kInsideId, child::kInsideId);
      if (::syscall(SYS_setresuid, child::kInsideId, child::kInsideId, child::kInsideId) != 0) ::_exit(errno);
    }
    ::_exit(::syscall(SYS_unshare, CLONE_NEWUSER | flag) == 0 ? 0 : errno);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

SandboxLayer row(std::string name, bool available, std::string detail, bool required = true) {
  return {std::move(name), available, required, std::move(detail)};
}

SandboxLayer seccomp_row() {
  const auto filter = build_seccomp_filter();
  const bool kernel = ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) >= 0;
  if (!filter.ok()) return row("seccomp", false, filter.status().message());
  if (!kernel) return row("seccomp", false, "the kernel has no seccomp: CONFIG_SECCOMP_FILTER");
  return row("seccomp", true,
             fmt::format("allow list of {} calls, {} instructions", seccomp_allowed_names().size(), filter->size()));
}

}  // namespace

std::vector<SandboxLayer> probe_layers(const SandboxOptions& options) {
  std::vector<SandboxLayer> layers;
  for (const Namespace& space : kNamespaces) {
    const int error = try_namespace(space.flag);
    layers.push_back(row(space.name, error == 0, error == 0 ? "namespace" : std::strerror(error)));
  }
  layers.push_back(seccomp_row());
  const int abi = landlock_abi();
  layers.push_back(row("landlock", abi > 0,
                       abi > 0 ? fmt::format("interface {}", abi) : "none: boot with landlock among the lsm= modules"));
  layers.push_back(row("rlimits", true, "address space, processes, files, CPU, core"));
  const auto cgroups = CgroupSpace::open(options.use_cgroups);
  const bool grouped = cgroups->kind() != CgroupPlace::Kind::none;
  layers.push_back(row("cgroup", grouped, cgroups->description() + (grouped ? "" : ": " + cgroups->reason()), false));
  return layers;
}

}  // namespace assay
