#pragma once

#include <sys/types.h>

#include <cstdint>

namespace assay {

// What a process and everything beneath it use right now, read from /proc.
struct TreeUse {
  bool known = false;        // false where the process has gone or the kernel hides it
  int64_t cpu_us = 0;        // of the living, and of the dead that were waited for
  int64_t memory_bytes = 0;  // resident, without pages of files; pages shared by fork count once a process
  int num_processes = 0;
};
TreeUse tree_use(pid_t root);

// The tree's memory with pages that processes share counted once; -1 where the kernel does not tell.
int64_t tree_proportional_bytes(pid_t root);

// Sends SIGKILL to the tree, leaves first, until nothing beneath `root` is left; for runs without a pid namespace.
void kill_tree(pid_t root);

}  // namespace assay
