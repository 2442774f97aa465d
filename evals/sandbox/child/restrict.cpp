#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "evals/sandbox/child/child.h"

namespace assay::child {
namespace {

int limit(__rlimit_resource which, uint64_t soft, uint64_t hard) {
  const rlimit value{soft, hard};
  return setrlimit(which, &value);
}

bool limit_is(__rlimit_resource which, uint64_t soft) {
  rlimit value{};
  return getrlimit(which, &value) == 0 && value.rlim_cur == soft;
}

bool has_no_capability() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  for (const auto& part : data) {
    if (part.effective | part.permitted | part.inheritable) return false;
  }
  return prctl(PR_CAPBSET_READ, 0, 0, 0, 0) == 0 && prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0;
}

bool is_other_namespace(size_t i) {
  struct stat status;
  return stat(kNamespaceFiles[i].path, &status) == 0 && status.st_ino != host.namespaces[i];
}

bool root_is_private() {
  struct statvfs status;
  return statvfs("/", &status) == 0 && (status.f_flag & ST_RDONLY) && access("/forbidden", F_OK) == 0;
}

bool folder_is_own(const RunRequest& request) {
  struct statvfs status;
  return statvfs("/tmp", &status) == 0 && !(status.f_flag & ST_RDONLY) &&
         status.f_blocks * status.f_frsize <= request.folder_bytes + 4096 && status.f_files <= request.folder_inodes;
}

// A fresh procfs counts from our own pid 1.
bool proc_is_own() {
  char text[16];
  const ssize_t size = readlink("/proc/self", text, sizeof(text));
  return size == 1 && text[0] == '2';
}

bool landlock_holds() {
  const int file = open("/forbidden", O_RDONLY | O_CLOEXEC);
  if (file >= 0) close(file);
  return file < 0 && errno == EACCES;
}

}  // namespace

int drop_capabilities() {
  if (fault_fails(Layer::capabilities)) return -1;
  if (fault_skips(Layer::capabilities)) return 0;
  for (int capability = 0; capability < 64; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 && errno != EINVAL) return -1;
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return -1;
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  return static_cast<int>(syscall(SYS_capset, &header, none));
}

int set_limits(const RunRequest& request) {
  if (fault_fails(Layer::rlimits)) return -1;
  if (fault_skips(Layer::rlimits)) return 0;
  if (limit(RLIMIT_AS, request.address_space_bytes, request.address_space_bytes) != 0) return -1;
  if (limit(RLIMIT_STACK, request.stack_bytes, request.stack_bytes) != 0) return -1;
  if (limit(RLIMIT_FSIZE, request.file_bytes, request.file_bytes) != 0) return -1;
  if (limit(RLIMIT_NPROC, request.max_processes, request.max_processes) != 0) return -1;
  if (limit(RLIMIT_NOFILE, request.max_open_files, request.max_open_files) != 0) return -1;
  if (limit(RLIMIT_CPU, request.cpu_s, request.cpu_s + 1) != 0) return -1;
  if (limit(RLIMIT_CORE, 0, 0) != 0 || limit(RLIMIT_MEMLOCK, 0, 0) != 0) return -1;
  if (limit(RLIMIT_MSGQUEUE, 0, 0) != 0 || limit(RLIMIT_RTPRIO, 0, 0) != 0) return -1;
  return limit(RLIMIT_SIGPENDING, 256, 256);
}

int install_filter() {
  if (fault_fails(Layer::seccomp)) return -1;
  if (fault_skips(Layer::seccomp)) return 0;
  sock_fprog program{};
  program.len = static_cast<unsigned short>(host.hello.num_instructions);
  program.filter = reinterpret_cast<sock_filter*>(host.filter);
  return static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

// What was set up is looked at once more, from inside, with the filter in place.
int verify_run(const RunRequest& request, Layer* failed) {
  errno = EPERM;
  *failed = Layer::verify;
  if (fault_fails(Layer::verify)) return -1;
  for (size_t i = 0; i < 7; ++i) {
    *failed = kNamespaceFiles[i].layer;
    if (!is_other_namespace(i)) return -1;
  }
  *failed = Layer::pid;
  if (syscall(SYS_getpid) != 2) return -1;
  *failed = Layer::user;
  if (getuid() != kInsideId || geteuid() != kInsideId || getgid() != kInsideId) return -1;
  *failed = Layer::root;
  if (!root_is_private()) return -1;
  *failed = Layer::proc;
  if (!proc_is_own()) return -1;
  *failed = Layer::folder;
  if (!folder_is_own(request)) return -1;
  *failed = Layer::capabilities;
  if (!has_no_capability()) return -1;
  *failed = Layer::no_new_privs;
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return -1;
  *failed = Layer::rlimits;
  if (!limit_is(RLIMIT_AS, request.address_space_bytes) || !limit_is(RLIMIT_NPROC, request.max_processes) ||
      !limit_is(RLIMIT_CORE, 0))
    return -1;
  *failed = Layer::landlock;
  if (!landlock_holds()) return -1;
  *failed = Layer::seccomp;
  if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != SECCOMP_MODE_FILTER) return -1;
  *failed = Layer::none;
  return 0;
}

}  // namespace assay::child
