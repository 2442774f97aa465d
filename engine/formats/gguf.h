#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"

namespace assay {

// A metadata value of a GGUF file: integers widened to 64 bits (unsigned kinds to uint64_t when alone, to int64_t in an
// array), floats to double. Arrays hold one kind.
struct GgufValue {
  std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>, std::vector<bool>>
      value;
};

enum class GgmlType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  bf16 = 30,
};
std::string ggml_type_name(uint32_t type);

struct GgufTensor {
  std::string name;
  GgmlType type;
  std::vector<int64_t> shape;  // slowest first: GGUF's dims reversed, so [out, in] as in safetensors
  std::span<const std::byte> bytes;
};

// A GGUF file, version 2 or 3, little-endian. Format: ggml docs/gguf.md. Every count is bounded by the bytes left in
// the file before anything is allocated; sizes are computed with overflow checks; duplicate keys and tensors,
// overlapping tensors, arrays of arrays and parts of split files are refused. Bounds: 2^16 keys of 65,535 bytes, 2^22
// array elements in all, 2^17 tensors with names of 127 bytes and 4 dimensions. Immutable, thread-safe; views live as
// long as the object.
class GgufFile {
 public:
  // Errors: not_found, io; bad_data names the byte offset and the rule; unsupported names a tensor type or version.
  static Result<GgufFile> open(const Path& path);

  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // file order
  const GgufTensor* find(std::string_view name) const;
  const Path& path() const { return file_->path(); }

  // Typed reads of metadata; bad_data names the key, what was found and what was expected. get_real takes integers too.
  Result<int64_t> get_int(std::string_view key) const;
  Result<double> get_real(std::string_view key) const;
  Result<std::string> get_string(std::string_view key) const;
  Result<bool> get_bool(std::string_view key) const;
  Result<std::vector<std::string>> get_strings(std::string_view key) const;
  Result<std::vector<int64_t>> get_ints(std::string_view key) const;
  bool has(std::string_view key) const { return metadata_.find(key) != metadata_.end(); }

 private:
  std::shared_ptr<MappedFile> file_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace assay
