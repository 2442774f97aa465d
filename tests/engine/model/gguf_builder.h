#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/formats/gguf.h"
#include "tests/engine/formats/format_files.h"

namespace assay::testing {

// Writes GGUF version 3 files for tests: metadata and tensors in the order given.
class GgufBuilder {
 public:
  GgufBuilder& set(std::string_view key, std::string_view value) { return entry(key, 8, Bytes().text(value)); }
  GgufBuilder& set(std::string_view key, const char* value) { return set(key, std::string_view(value)); }
  GgufBuilder& set(std::string_view key, uint32_t value) { return entry(key, 4, Bytes().add(value)); }
  GgufBuilder& set(std::string_view key, float value) { return entry(key, 6, Bytes().add(value)); }
  GgufBuilder& set(std::string_view key, bool value) { return entry(key, 7, Bytes().add(static_cast<uint8_t>(value))); }
  GgufBuilder& set(std::string_view key, const std::vector<std::string>& values) {
    Bytes bytes = Bytes().add(uint32_t{8}).add(static_cast<uint64_t>(values.size()));
    for (const std::string& value : values) bytes.text(value);
    return entry(key, 9, bytes);
  }
  GgufBuilder& set(std::string_view key, const std::vector<int32_t>& values) {
    Bytes bytes = Bytes().add(uint32_t{5}).add(static_cast<uint64_t>(values.size()));
    for (const int32_t value : values) bytes.add(value);
    return entry(key, 9, bytes);
  }
  GgufBuilder& erase(std::string_view key) {
    std::erase_if(metadata_, [&](const auto& pair) { return pair.first == key; });
    return *this;
  }

  // `shape` slowest first, as GgufTensor has it.
  GgufBuilder& tensor(std::string_view name, GgmlType type, const std::vector<int64_t>& shape, std::string bytes) {
    erase_tensor(name);
    tensors_.push_back({std::string(name), type, shape, std::move(bytes)});
    return *this;
  }
  GgufBuilder& floats(std::string_view name, const std::vector<int64_t>& shape, const std::vector<float>& values) {
    return tensor(name, GgmlType::f32, shape,
                  std::string(reinterpret_cast<const char*>(values.data()), values.size() * 4));
  }
  GgufBuilder& erase_tensor(std::string_view name) {
    std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
    return *this;
  }

  std::string build() const {
    Bytes file = Bytes().raw("GGUF").add(uint32_t{3}).add(static_cast<uint64_t>(tensors_.size()));
    file.add(static_cast<uint64_t>(metadata_.size()));
    for (const auto& [key, bytes] : metadata_) file.text(key).raw(bytes);
    uint64_t offset = 0;
    for (const Tensor& tensor : tensors_) {
      file.text(tensor.name).add(static_cast<uint32_t>(tensor.shape.size()));
      for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent)
        file.add(static_cast<uint64_t>(*extent));
      file.add(static_cast<uint32_t>(tensor.type)).add(offset);
      offset += (tensor.bytes.size() + 31) / 32 * 32;
    }
    file.align(32);
    for (const Tensor& tensor : tensors_) file.raw(tensor.bytes).align(32);
    return file.str();
  }

 private:
  struct Tensor {
    std::string name;
    GgmlType type;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  GgufBuilder& entry(std::string_view key, uint32_t type, const Bytes& value) {
    erase(key);
    metadata_.emplace_back(key, Bytes().add(type).raw(value.str()).str());
    return *this;
  }
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace assay::testing
