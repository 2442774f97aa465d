#include "engine/cpu/file_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace assay::cpu {

FilePages::FilePages() {
  FILE* maps = std::fopen("/proc/self/maps", "re");
  if (!maps) return;  // nothing is released then
  char line[4096];
  while (std::fgets(line, sizeof line, maps)) {
    uintptr_t begin = 0, end = 0;
    char rights[5] = {};
    uint64_t offset = 0, inode = 0;
    const int fields = std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %" SCNx64 " %*s %" SCNu64, &begin, &end, rights,
                                   &offset, &inode);
    if (fields == 5 && inode != 0 && std::strncmp(rights, "r--", 3) == 0) ranges_.emplace_back(begin, end);
  }
  std::fclose(maps);
}

void FilePages::release(std::span<const std::byte> bytes) const {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + bytes.size()) / page * page;
  if (begin >= end) return;
  for (const auto& [range_begin, range_end] : ranges_) {
    if (first < range_begin || first + bytes.size() > range_end) continue;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    return;
  }
}

}  // namespace assay::cpu
