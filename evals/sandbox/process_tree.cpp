#include "evals/sandbox/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace assay {
namespace {

// Small files of /proc arrive in one read.
std::string read_proc(const std::string& path) {
  char buffer[8192];
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  const ssize_t size = ::read(file, buffer, sizeof(buffer));
  ::close(file);
  return size > 0 ? std::string(buffer, static_cast<size_t>(size)) : std::string();
}

void add_children(pid_t pid, std::vector<pid_t>& pids) {
  const std::string folder = "/proc/" + std::to_string(pid) + "/task";
  DIR* tasks = ::opendir(folder.c_str());
  if (!tasks) return;
  while (const dirent* entry = ::readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    const std::string text = read_proc(folder + "/" + entry->d_name + "/children");
    const char* at = text.c_str();
    char* end = nullptr;
    for (long child = std::strtol(at, &end, 10); end != at; child = std::strtol(at, &end, 10)) {
      pids.push_back(static_cast<pid_t>(child));
      at = end;
    }
  }
  ::closedir(tasks);
}

std::vector<pid_t> whole_tree(pid_t root) {
  std::vector<pid_t> pids = {root};
  for (size_t i = 0; i < pids.size() && pids.size() < 4096; ++i) add_children(pids[i], pids);
  return pids;
}

// Fields 14 to 17 of stat: own and waited-for user and system ticks. The name in field 2 may hold anything but is
// ended by the last parenthesis.
bool add_cpu(pid_t pid, TreeUse& use) {
  const std::string text = read_proc("/proc/" + std::to_string(pid) + "/stat");
  const size_t close = text.rfind(')');
  if (close == std::string::npos) return false;
  unsigned long long user = 0, system = 0;
  long long waited_user = 0, waited_system = 0;
  if (std::sscanf(text.c_str() + close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld", &user,
                  &system, &waited_user, &waited_system) != 4)
    return false;
  static const int64_t kTick_us = 1000000 / ::sysconf(_SC_CLK_TCK);
  use.cpu_us += static_cast<int64_t>(user + system) * kTick_us + (waited_user + waited_system) * kTick_us;
  return true;
}

// RssAnon and RssShmem: what the program wrote, without the interpreter's own files.
void add_memory(pid_t pid, TreeUse& use) {
  const std::string text = read_proc("/proc/" + std::to_string(pid) + "/status");
  for (const char* key : {"RssAnon:", "RssShmem:"}) {
    const size_t at = text.find(key);
    if (at != std::string::npos) use.memory_bytes += std::atoll(text.c_str() + at + std::strlen(key)) * 1024;
  }
}

// Proportional sizes: a page that n processes share counts 1/n in each. Slow, so asked only where the plain sum is
// over.
int64_t proportional_bytes(pid_t pid) {
  const std::string text = read_proc("/proc/" + std::to_string(pid) + "/smaps_rollup");
  int64_t bytes = text.empty() ? -1 : 0;
  for (const char* key : {"Pss_Anon:", "Pss_Shmem:"}) {
    const size_t at = text.find(key);
    if (at != std::string::npos) bytes += std::atoll(text.c_str() + at + std::strlen(key)) * 1024;
  }
  return bytes;
}

}  // namespace

int64_t tree_proportional_bytes(pid_t root) {
  int64_t sum = 0, read = 0;
  for (const pid_t pid : whole_tree(root)) {
    const int64_t bytes = proportional_bytes(pid);
    if (bytes < 0) continue;  // gone, or pid 1, which nobody may look into
    sum += bytes;
    ++read;
  }
  return read > 0 ? sum : -1;
}

TreeUse tree_use(pid_t root) {
  TreeUse use;
  for (const pid_t pid : whole_tree(root)) {
    if (!add_cpu(pid, use)) continue;
    add_memory(pid, use);
    ++use.num_processes;
    use.known = true;
  }
  return use;
}

void kill_tree(pid_t root) {
  for (int round = 0; round < 100; ++round) {
    const std::vector<pid_t> pids = whole_tree(root);
    if (pids.size() == 1) break;
    for (size_t i = pids.size(); i-- > 1;) ::kill(pids[i], SIGKILL);
    ::usleep(1000);
  }
  ::kill(root, SIGKILL);
}

}  // namespace assay
