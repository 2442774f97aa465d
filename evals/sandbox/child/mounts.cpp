#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

#include "evals/sandbox/child/child.h"

namespace assay::child {
namespace {

constexpr const char* kNewRoot = "/tmp";  // exists on every machine; only our own mount namespace sees it covered

struct MountAttributes {
  uint64_t set, clear, propagation, userns_fd;
};
constexpr uint64_t kReadOnly = 0x1, kNoSetuid = 0x2, kNoDevices = 0x4, kNoExecute = 0x8;

int restrict_mount(const char* path, uint64_t attributes, bool recursive) {
  MountAttributes change{attributes, 0, 0, 0};
  return static_cast<int>(
      syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &change, sizeof(change)));
}

// Makes every folder of `path` that is missing.
int make_folders(const char* path, bool last_too) {
  char partial[4096];
  if (strlen(path) >= sizeof(partial)) return errno = ENAMETOOLONG, -1;
  strcpy(partial, path);
  for (char* slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = '\0';
    if (mkdir(partial, 0755) != 0 && errno != EEXIST) return -1;
    *slash = '/';
  }
  if (last_too && mkdir(partial, 0755) != 0 && errno != EEXIST) return -1;
  return 0;
}

// Shows `source`, a file or folder, at the same path of the new root.
int bind_into_root(const char* source, uint64_t attributes) {
  char target[4096];
  if (snprintf(target, sizeof(target), "%s%s", kNewRoot, source) >= static_cast<int>(sizeof(target)))
    return errno = ENAMETOOLONG, -1;
  struct stat status;
  if (stat(source, &status) != 0) return -1;
  if (make_folders(target, S_ISDIR(status.st_mode)) != 0) return -1;
  if (!S_ISDIR(status.st_mode)) {
    const int file = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (file < 0 && errno != EACCES && errno != EROFS) return -1;
    if (file >= 0) close(file);
  }
  if (mount(source, target, nullptr, MS_BIND | MS_REC, nullptr) != 0) return -1;
  return attributes ? restrict_mount(target, attributes, true) : 0;
}

// /lib, /lib64 and the like are links into /usr on most systems; programs name them either way.
int copy_link(const char* path) {
  char text[4096], target[4096];
  const ssize_t size = readlink(path, text, sizeof(text) - 1);
  if (size < 0) return 0;
  text[size] = '\0';
  if (snprintf(target, sizeof(target), "%s%s", kNewRoot, path) >= static_cast<int>(sizeof(target)))
    return errno = ENAMETOOLONG, -1;
  return symlink(text, target) == 0 || errno == EEXIST ? 0 : -1;
}

// A file that anyone may read and no Landlock rule covers: verify_run opens it to see Landlock at work.
int make_forbidden_file() {
  const int file = open("/tmp/forbidden", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  return file < 0 ? -1 : close(file);
}

}  // namespace

int build_root() {
  if (fault_fails(Layer::root)) return -1;
  if (fault_skips(Layer::root)) return 0;
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return -1;
  if (mount("assay", kNewRoot, "tmpfs", MS_NOSUID | MS_NODEV, "size=256k,nr_inodes=512,mode=755") != 0) return -1;
  for (const char* link : {"/lib", "/lib64", "/lib32", "/bin"}) {
    if (copy_link(link) != 0) return -1;
  }
  for (size_t i = 0; i < host.num_paths; ++i) {
    if (bind_into_root(host.paths[i], kReadOnly | kNoSetuid | kNoDevices) != 0) return -1;
  }
  for (const char* device : {"/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"}) {
    if (bind_into_root(device, kReadOnly | kNoSetuid | kNoExecute) != 0) return -1;
  }
  if (bind_into_root("/proc", 0) != 0) return -1;
  if (mkdir("/tmp/tmp", 0755) != 0 || make_forbidden_file() != 0) return -1;
  if (restrict_mount(kNewRoot, kReadOnly | kNoSetuid | kNoDevices, false) != 0) return -1;
  if (chdir(kNewRoot) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) return -1;
  if (umount2(".", MNT_DETACH) != 0) return -1;
  return chdir("/");
}

int enter_run_mounts(const RunRequest& request, Layer* failed) {
  *failed = Layer::proc;
  if (fault_fails(Layer::proc)) return -1;
  if (!fault_skips(Layer::proc) &&
      mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "subset=pid") != 0 &&
      mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return -1;
  }
  *failed = Layer::folder;
  if (fault_fails(Layer::folder)) return -1;
  char options[128];
  snprintf(options, sizeof(options), "size=%llu,nr_inodes=%llu,mode=755",
           static_cast<unsigned long long>(request.folder_bytes),
           static_cast<unsigned long long>(request.folder_inodes));
  if (!fault_skips(Layer::folder) && mount("assay", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) != 0) {
    return -1;
  }
  return chdir("/tmp");
}

}  // namespace assay::child
