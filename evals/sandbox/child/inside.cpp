#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "evals/sandbox/child/child.h"

namespace assay::child {
namespace {

constexpr int kStatusFd = 5;

[[noreturn]] void fail_run(int status_fd, Layer layer) {
  Note note;
  note.kind = Note::Kind::failed;
  note.layer = layer;
  note.error = errno ? errno : EPERM;
  (void)!write(status_fd, &note, sizeof(note));
  _exit(125);
}

// Gives the descriptors their places: 0 nothing, 1 and 2 output, 3 requests, 4 answers, 5 status; closes all others.
int place_descriptors(const RunRequest& request, const int* fds) {
  int moved[5];
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return -1;
  const int sources[5] = {request.keep_output ? fds[3] : null, request.keep_output ? fds[4] : null, fds[1], fds[2],
                          fds[0]};
  const int input = fcntl(null, F_DUPFD, 32);
  if (input < 0) return -1;
  for (int i = 0; i < 5; ++i) {
    moved[i] = fcntl(sources[i], F_DUPFD, 32);
    if (moved[i] < 0) return -1;
  }
  if (dup2(input, 0) < 0) return -1;
  for (int i = 0; i < 5; ++i) {
    if (dup2(moved[i], i + 1) < 0) return -1;
  }
  return static_cast<int>(syscall(SYS_close_range, kStatusFd + 1, ~0u, 0));
}

volatile sig_atomic_t child_signal;
void on_child(int) { child_signal = 1; }

// Woken to end a run, pid 1 must not wait behind every process of it that spins: a task with a short slice goes first,
// which kernels from 6.12 on grant to anyone and older ones ignore.
void ask_for_short_slices() {
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
  } wanted{};
  wanted.size = sizeof(wanted);
  wanted.nice = getpriority(PRIO_PROCESS, 0);
  wanted.runtime_ns = 100000;
  (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
}

// Reaps whatever ends; when the program itself ends, says how, and ends: the kernel then ends all others. Ends too when
// Assay has gone, which the status socket tells.
[[noreturn]] void be_init(pid_t program) {
  syscall(SYS_close_range, 0, kStatusFd - 1, 0);
  prctl(PR_SET_NAME, "init", 0, 0, 0);
  ask_for_short_slices();
  sigset_t waiting;
  sigemptyset(&waiting);
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, WNOHANG, &usage);
    if (pid == program) {
      Note note;
      note.kind = Note::Kind::ended;
      note.wait_status = status;
      note.cpu_us =
          (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ll + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
      note.max_rss_kib = usage.ru_maxrss;
      (void)!write(kStatusFd, &note, sizeof(note));
      _exit(0);
    }
    if (pid > 0) continue;
    pollfd leash{kStatusFd, POLLIN, 0};
    if (ppoll(&leash, 1, nullptr, &waiting) > 0) _exit(0);
  }
}

void default_signals() {
  for (int number = 1; number < NSIG; ++number) {
    if (number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
  }
  signal(SIGPIPE, SIG_IGN);  // as an interpreter has it
  signal(SIGXFSZ, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

void execute_cold(const char* runner_source) {
  const char* const arguments[] = {host.interpreter, "-S", "-s", "-B", "-c", runner_source, nullptr};
  const char* const environment[] = {"HOME=/tmp", "LANG=C.UTF-8", "TZ=UTC", "PYTHONHASHSEED=0", nullptr};
  execve(host.interpreter, const_cast<char* const*>(arguments), const_cast<char* const*>(environment));
  _exit(127);
}

// pid 2: everything that may not be undone, then proof, then word to Assay.
int become_program(const RunRequest& request, const char* runner_source) {
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  default_signals();
  Layer failed = Layer::launch;
  if (setsid() < 0) fail_run(kStatusFd, failed);
  if (host.hello.isolate) {
    (void)write_file("/proc/self/oom_score_adj",
                     "1000");  // the program dies first; a kernel without it has no such kill
    if (set_limits(request) != 0) fail_run(kStatusFd, Layer::rlimits);
    if (restrict_files() != 0) fail_run(kStatusFd, Layer::landlock);
    if (install_filter() != 0) fail_run(kStatusFd, Layer::seccomp);
    if (verify_run(request, &failed) != 0) fail_run(kStatusFd, failed);
  } else if (set_limits(request) != 0) {
    fail_run(kStatusFd, Layer::rlimits);
  }
  Note note;
  note.kind = Note::Kind::armed;
  if (write(kStatusFd, &note, sizeof(note)) != sizeof(note)) _exit(125);
  close(kStatusFd);
  if (request.cold) execute_cold(runner_source);
  return 1;
}

void enter_isolation(const RunRequest& request, int status_fd) {
  Layer failed = Layer::user;
  if (fault_fails(Layer::user) || map_ids(kInsideId, kInsideId) != 0) fail_run(status_fd, Layer::user);
  if (enter_run_mounts(request, &failed) != 0) fail_run(status_fd, failed);
  if (sethostname("sandbox", 7) != 0) fail_run(status_fd, Layer::uts);
  if (drop_capabilities() != 0) fail_run(status_fd, Layer::capabilities);
  if (!fault_skips(Layer::no_new_privs) &&
      (fault_fails(Layer::no_new_privs) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0))
    fail_run(status_fd, Layer::no_new_privs);
}

}  // namespace

int run_inside(const RunRequest& request, const int* fds, int num_fds, const char* runner_source) {
  if (num_fds < (request.keep_output ? 5 : 3)) _exit(125);
  if (host.hello.isolate) enter_isolation(request, fds[0]);
  if (place_descriptors(request, fds) != 0) fail_run(fds[0], Layer::launch);
  umask(022);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  struct sigaction action {};
  action.sa_handler = on_child;
  if (sigprocmask(SIG_SETMASK, &child, nullptr) != 0 || sigaction(SIGCHLD, &action, nullptr) != 0)
    fail_run(kStatusFd, Layer::launch);
  if (!host.hello.isolate && setpgid(0, 0) != 0) fail_run(kStatusFd, Layer::launch);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
    fail_run(kStatusFd, Layer::launch);
  const pid_t program = fork();
  if (program < 0) fail_run(kStatusFd, Layer::launch);
  if (program == 0) return become_program(request, runner_source);
  be_init(program);
}

}  // namespace assay::child
