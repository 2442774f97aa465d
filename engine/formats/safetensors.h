#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/formats/tensor.h"

namespace assay {

// One safetensors file: u64 header length, JSON header, then the tensors' bytes.
// https://huggingface.co/docs/safetensors Opening checks everything before any tensor is used: header at most 100 MB
// and inside the file, at most 2^20 JSON values in it (some 130,000 tensors), offsets that cover the data without hole
// or overlap, sizes equal to shape times element size, no name twice. NaN is not looked for. Immutable; views are valid
// while the object lives. Thread-safe.
class SafetensorsFile {
 public:
  // Errors: not_found, io; bad_data names the file, the tensor and the rule that is broken; unsupported names the
  // dtype.
  static Result<SafetensorsFile> open(const Path& path);

  const std::vector<TensorView>& tensors() const { return tensors_; }  // in file order
  const TensorView* find(std::string_view name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }  // the __metadata__ strings
  const MappedFile& file() const { return *file_; }

 private:
  std::shared_ptr<MappedFile> file_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

// Writes a safetensors file tensor by tensor, so that only one tensor at a time need be in memory. The file appears
// under its final name only at finish(). Not thread-safe.
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    DType dtype;
    Shape shape;
  };
  // `entries` in the order in which write() will be called. Metadata always holds {"format": "pt"} too, as Transformers
  // expects. Errors: io; invalid_argument for a name given twice, a shape without a size, or a header over 100 MB.
  static Result<SafetensorsWriter> create(const Path& path, std::vector<Entry> entries,
                                          const std::map<std::string, std::string>& metadata = {});
  // The next entry's bytes. ASSAY_CHECKs that the size is right.
  Status write(std::span<const std::byte> bytes);
  // After the last entry (ASSAY_CHECKed): syncs and gives the file its name.
  Status finish();

 private:
  SafetensorsWriter(AtomicFileWriter writer, std::vector<Entry> entries)
      : writer_(std::move(writer)), entries_(std::move(entries)) {}
  AtomicFileWriter writer_;
  std::vector<Entry> entries_;
  size_t next_ = 0;
};

}  // namespace assay
