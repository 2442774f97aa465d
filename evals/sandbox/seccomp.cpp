#include "evals/sandbox/seccomp.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "evals/sandbox/child/protocol.h"

namespace assay {
namespace {

constexpr const char* kAllowed[] = {
    // bytes
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "sendfile", "copy_file_range", "fsync", "fdatasync", "ftruncate", "truncate", "fallocate", "fadvise64",
    // files and folders
    "open", "openat", "openat2", "creat", "close", "close_range", "stat", "fstat", "lstat", "newfstatat", "statx",
    "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents", "getdents64",
    "getcwd", "chdir", "fchdir", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
    "link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "umask", "utime", "utimes", "utimensat",
    "futimesat", "dup", "dup2", "dup3", "pipe", "pipe2",
    // waiting
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd", "eventfd2", "nanosleep", "clock_nanosleep", "pause", "restart_syscall", "futex",
    "sched_yield",
    // memory
    "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "msync", "mincore", "membarrier", "rseq",
    // processes and threads
    "fork", "vfork", "execve", "exit", "exit_group", "wait4", "waitid", "kill", "tkill", "tgkill", "getpid", "getppid",
    "gettid", "getpgrp", "getpgid", "setpgid", "getsid", "setsid", "set_tid_address", "set_robust_list",
    "get_robust_list", "arch_prctl", "getuid", "geteuid", "getgid", "getegid", "getresuid", "getresgid", "getgroups",
    "capget", "getrlimit", "setrlimit", "prlimit64", "getrusage", "getpriority", "setpriority", "sched_getaffinity",
    "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu",
    // signals and timers
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigqueueinfo", "sigaltstack", "alarm", "setitimer", "getitimer", "timer_create", "timer_settime",
    "timer_gettime", "timer_getoverrun", "timer_delete",
    // the machine
    "uname", "sysinfo", "times", "time", "gettimeofday", "clock_gettime", "clock_getres", "getrandom"};

constexpr uint64_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
                                    CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWTIME | CLONE_PTRACE;

// What may be asked for by argument 1 (fcntl, ioctl) or argument 0 (prctl).
constexpr int kControls[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETPIPE_SZ};
constexpr unsigned long kTerminalQuestions[] = {TCGETS, TIOCGWINSZ, FIONREAD, FIOCLEX, FIONCLEX, FIONBIO};
constexpr int kProcessControls[] = {PR_SET_NAME,       PR_GET_NAME,     PR_GET_DUMPABLE,  PR_GET_NO_NEW_PRIVS,
                                    PR_GET_SECCOMP,    PR_CAPBSET_READ, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG,
                                    PR_SET_TIMERSLACK, PR_SET_VMA};

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(EPERM))) {}
  ~Filter() { seccomp_release(context_); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  bool made() const { return context_ != nullptr; }
  scmp_filter_ctx get() const { return context_; }

  // Names that this processor's table lacks (open on aarch64) resolve to nothing and need no rule.
  void add(uint32_t action, const char* name, std::initializer_list<scmp_arg_cmp> conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number < 0 || error_ != 0) return;
    error_ =
        seccomp_rule_add_array(context_, action, number, static_cast<unsigned>(conditions.size()), conditions.begin());
  }
  void set(scmp_filter_attr attribute, uint32_t value) {
    if (error_ == 0) error_ = seccomp_attr_set(context_, attribute, value);
  }
  int error() const { return error_; }

 private:
  scmp_filter_ctx context_;
  int error_ = 0;
};

void add_rules(Filter& filter) {
  for (const char* name : kAllowed) filter.add(SCMP_ACT_ALLOW, name);
  filter.add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  filter.add(SCMP_ACT_ALLOW, "clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces, 0)});
  for (const int control : kControls)
    filter.add(SCMP_ACT_ALLOW, "fcntl", {SCMP_A1(SCMP_CMP_EQ, scmp_datum_t(control))});
  for (const unsigned long question : kTerminalQuestions)
    filter.add(SCMP_ACT_ALLOW, "ioctl", {SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, question)});
  for (const int control : kProcessControls)
    filter.add(SCMP_ACT_ALLOW, "prctl", {SCMP_A0(SCMP_CMP_EQ, scmp_datum_t(control))});
}

Result<std::vector<uint64_t>> exported(const Filter& filter) {
  const int file = memfd_create("assay-filter", MFD_CLOEXEC);
  if (file < 0) return unavailable(fmt::format("seccomp: memfd_create: {}", std::strerror(errno)));
  std::vector<uint64_t> program(child::kMaxFilterInstructions);
  ssize_t size = -1;
  if (seccomp_export_bpf(filter.get(), file) == 0)
    size = pread(file, program.data(), program.size() * sizeof(uint64_t), 0);
  ::close(file);
  if (size <= 0 || size % 8 != 0 || static_cast<size_t>(size) == program.size() * sizeof(uint64_t))
    return unavailable("seccomp: libseccomp gave no filter, or one beyond 2047 instructions");
  program.resize(static_cast<size_t>(size) / 8);
  return program;
}

}  // namespace

Result<std::vector<uint64_t>> build_seccomp_filter() {
  Filter filter;
  if (!filter.made()) return unavailable("seccomp: libseccomp cannot start a filter: is this processor known to it?");
  filter.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  filter.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  add_rules(filter);
  if (filter.error() != 0)
    return unavailable(fmt::format("seccomp: libseccomp refuses a rule: {}", std::strerror(-filter.error())));
  return exported(filter);
}

std::vector<std::string_view> seccomp_allowed_names() { return {std::begin(kAllowed), std::end(kAllowed)}; }

}  // namespace assay
