#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "evals/sandbox/child/child.h"

namespace assay::child {

Host host;

const NamespaceFile kNamespaceFiles[7] = {{Layer::user, CLONE_NEWUSER, "/proc/self/ns/user"},
                                          {Layer::pid, CLONE_NEWPID, "/proc/self/ns/pid"},
                                          {Layer::mount, CLONE_NEWNS, "/proc/self/ns/mnt"},
                                          {Layer::net, CLONE_NEWNET, "/proc/self/ns/net"},
                                          {Layer::ipc, CLONE_NEWIPC, "/proc/self/ns/ipc"},
                                          {Layer::uts, CLONE_NEWUTS, "/proc/self/ns/uts"},
                                          {Layer::cgroup_ns, CLONE_NEWCGROUP, "/proc/self/ns/cgroup"}};

bool fault_fails(Layer layer) {
  if (host.hello.fault != layer || host.hello.fault_skips) return false;
  errno = EPERM;
  return true;
}
bool fault_skips(Layer layer) { return host.hello.fault == layer && host.hello.fault_skips; }

int write_file(const char* path, const char* text) {
  const int file = open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t size = static_cast<ssize_t>(strlen(text));
  const bool whole = write(file, text, static_cast<size_t>(size)) == size;
  const int error = errno;
  close(file);
  errno = error;
  return whole ? 0 : -1;
}

int map_ids(uint32_t outside_uid, uint32_t outside_gid) {
  char line[64];
  if (write_file("/proc/self/setgroups", "deny") != 0) return -1;
  snprintf(line, sizeof(line), "%u %u 1\n", kInsideId, outside_uid);
  if (write_file("/proc/self/uid_map", line) != 0) return -1;
  snprintf(line, sizeof(line), "%u %u 1\n", kInsideId, outside_gid);
  return write_file("/proc/self/gid_map", line);
}

namespace {

int drop_user() {
  if (host.hello.drop_to_uid < 0) return 0;
  const auto id = static_cast<uid_t>(host.hello.drop_to_uid);
  if (setgroups(0, nullptr) != 0 || setresgid(id, id, id) != 0 || setresuid(id, id, id) != 0) return -1;
  return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // else our own /proc/self/uid_map would not be ours
}

// What a run must not be in: the host's namespaces, but for the network's, where it is the machine's.
int remember_namespaces(bool net) {
  for (size_t i = 0; i < 7; ++i) {
    if ((kNamespaceFiles[i].layer == Layer::net) != net) continue;
    struct stat status;
    if (stat(kNamespaceFiles[i].path, &status) != 0) return -1;
    host.namespaces[i] = status.st_ino;
  }
  return 0;
}

// One for all runs of a host: nothing is in it but a device that stays down, no run has a right over it, and no two
// runs are in it at once. Making and taking down a fresh one costs more than all other layers together.
int enter_net_namespace() {
  if (remember_namespaces(true) != 0 || fault_fails(Layer::net)) return -1;
  return fault_skips(Layer::net) ? 0 : unshare(CLONE_NEWNET);
}

int enter_host_namespaces(Layer* failed) {
  *failed = Layer::user;
  if (drop_user() != 0) return -1;
  const uid_t uid = getuid();
  const gid_t gid = getgid();
  if (uid == 0) return errno = EPERM, -1;
  if (unshare(CLONE_NEWUSER) != 0 || map_ids(uid, gid) != 0) return -1;
  *failed = Layer::net;
  if (enter_net_namespace() != 0) return -1;
  *failed = Layer::mount;
  if (unshare(CLONE_NEWNS) != 0) return -1;
  *failed = Layer::root;
  if (build_root() != 0) return -1;
  *failed = Layer::proc;
  return remember_namespaces(false);
}

uint64_t clone_flags(Layer* failed) {
  uint64_t flags = 0;
  for (const NamespaceFile& file : kNamespaceFiles) {
    if (file.layer == Layer::net) continue;
    if (fault_fails(file.layer)) *failed = file.layer;
    if (!fault_skips(file.layer)) flags |= file.clone_flag;
  }
  return flags;
}

struct CloneArguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

// Which namespace a failed clone was about: each alone is tried in turn.
Layer layer_to_blame() {
  for (const NamespaceFile& file : kNamespaceFiles) {
    CloneArguments arguments{};
    arguments.flags = CLONE_NEWUSER | file.clone_flag;
    arguments.exit_signal = SIGCHLD;
    const long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid == 0) _exit(0);
    if (pid < 0) return file.layer;
  }
  return Layer::launch;
}

// Starts one run; 1 in the program's own process, else 0 with the reply sent.
int start_run(int socket, const RunRequest& request, const int* fds, int num_fds, const char* runner_source) {
  RunReply reply;
  int pidfd = -1;
  CloneArguments arguments{};
  arguments.flags = CLONE_PIDFD;
  if (host.hello.isolate) arguments.flags |= clone_flags(&reply.failed);
  arguments.pidfd = reinterpret_cast<uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  long pid = -1;
  if (reply.failed == Layer::none) {
    pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid == 0) return run_inside(request, fds, num_fds, runner_source);
  }
  if (pid < 0) {
    reply.error = errno;
    if (reply.failed == Layer::none) reply.failed = layer_to_blame();
  }
  reply.pid = static_cast<int32_t>(pid);
  send_message(socket, &reply, sizeof(reply), pidfd);
  if (pidfd >= 0) close(pidfd);
  return 0;
}

void take_paths(char* paths) {
  char* rest = nullptr;
  for (char* path = strtok_r(paths, "\n", &rest); path && host.num_paths < kMaxPaths;
       path = strtok_r(nullptr, "\n", &rest)) {
    host.paths[host.num_paths++] = path;
  }
}

}  // namespace
}  // namespace assay::child

using namespace assay::child;

// Called by host.py. paths: one a line; they must outlive the process. 0, or -1 where the failure was reported.
extern "C" __attribute__((visibility("default"))) int assay_host_prepare(int socket, char* paths,
                                                                         const char* interpreter, const char* loader) {
  static struct {
    Hello hello;
    uint64_t filter[kMaxFilterInstructions];
  } message;
  const long size = receive_message(socket, &message, sizeof(message), nullptr, nullptr);
  if (size < static_cast<long>(sizeof(Hello)) || message.hello.num_instructions > kMaxFilterInstructions) return -1;
  host.hello = message.hello;
  memcpy(host.filter, message.filter, sizeof(host.filter));
  host.interpreter = interpreter;
  host.loader = *loader ? loader : nullptr;
  take_paths(paths);
  signal(SIGCHLD, SIG_IGN);  // runs are watched through pidfds; none stays as a zombie
  HelloReply reply;
  if (!host.hello.isolate || enter_host_namespaces(&reply.failed) == 0) return 0;
  reply.error = errno ? errno : EPERM;
  send_message(socket, &reply, sizeof(reply), -1);
  return -1;
}

// Serves runs until Assay closes the socket (0). 1: this is a program's process, and the interpreter goes on in it.
extern "C" __attribute__((visibility("default"))) int assay_host_serve(int socket, const char* info,
                                                                       const char* runner_source) {
  static char hello[sizeof(HelloReply) + 16384];
  const HelloReply reply;
  const size_t info_size = strnlen(info, sizeof(hello) - sizeof(reply));
  memcpy(hello, &reply, sizeof(reply));
  memcpy(hello + sizeof(reply), info, info_size);
  if (send_message(socket, hello, sizeof(reply) + info_size, -1) != 0) return 0;
  for (;;) {
    RunRequest request;
    int fds[8];
    int num_fds = 0;
    const long size = receive_message(socket, &request, sizeof(request), fds, &num_fds);
    if (size != sizeof(request)) return 0;
    if (start_run(socket, request, fds, num_fds, runner_source) == 1) return 1;
    for (int i = 0; i < num_fds; ++i) close(fds[i]);
  }
}
