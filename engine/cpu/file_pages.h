#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace assay::cpu {

// The read-only file mappings of this process, as they were when the object was made.
class FilePages {
 public:
  FilePages();
  // Lets the kernel take back the whole pages inside `bytes`, once they have been copied elsewhere; reading them again
  // brings them back from the file. Bytes that do not lie in one read-only file mapping are left alone.
  void release(std::span<const std::byte> bytes) const;

 private:
  std::vector<std::pair<uintptr_t, uintptr_t>> ranges_;  // [begin, end)
};

}  // namespace assay::cpu
