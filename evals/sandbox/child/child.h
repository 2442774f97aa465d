#pragma once

#include <cstddef>
#include <cstdint>

#include "evals/sandbox/child/protocol.h"

// The part of the launcher that runs inside the launch host: a library without the C++ run-time, loaded into the pinned
// interpreter, so that one clone serves warm starts (the interpreter goes on in the new process) and cold ones (it is
// executed anew). Every step returns 0 or -1 with errno; a step that fails ends the run before any program byte is
// sent.
namespace assay::child {

inline constexpr size_t kMaxPaths = 64;

// What the host knows once it is prepared.
struct Host {
  Hello hello;
  uint64_t filter[kMaxFilterInstructions];  // the seccomp program, 8 bytes an instruction
  uint64_t namespaces[7];                   // inodes that a run's may not have, in kNamespaceFiles' order
  char* paths[kMaxPaths];                   // folders and files of the interpreter, links resolved
  size_t num_paths;
  const char* interpreter;
  const char* loader;  // the dynamic loader, nullptr for a static interpreter
};
extern Host host;

struct NamespaceFile {
  Layer layer;
  uint64_t clone_flag;
  const char* path;
};
extern const NamespaceFile kNamespaceFiles[7];

// True where the fault asked for is `layer` (errno set), so that its set-up must be reported as failed.
bool fault_fails(Layer layer);
// True where `layer` is to be left out silently.
bool fault_skips(Layer layer);

int write_file(const char* path, const char* text);
int map_ids(uint32_t outside_uid, uint32_t outside_gid);
int build_root();                                                // the host's private read-only root
int enter_run_mounts(const RunRequest& request, Layer* failed);  // fresh /proc and /tmp
int drop_capabilities();
int set_limits(const RunRequest& request);
int restrict_files();  // Landlock
int install_filter();  // seccomp
int verify_run(const RunRequest& request, Layer* failed);

// pid 1 of a run and, where it returns 1, pid 2 about to become the program. REQUIRES: called in the cloned child.
int run_inside(const RunRequest& request, const int* fds, int num_fds, const char* runner_source);

// Messages with descriptors; the number of bytes, or -1.
long receive_message(int socket, void* bytes, size_t size, int* fds, int* num_fds);
int send_message(int socket, const void* bytes, size_t size, int fd);

}  // namespace assay::child
