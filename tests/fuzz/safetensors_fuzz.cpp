// Any bytes opened as a safetensors file give a typed error, or tensors that lie inside the file and convert.

#include "engine/base/check.h"
#include "engine/formats/safetensors.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace assay;
  const fuzz::MemoryFile memory(data, size);
  const auto file = SafetensorsFile::open(memory.path());
  if (!file.ok()) {
    ASSAY_CHECK(!file.status().message().empty());
    return 0;
  }
  size_t covered = 0;
  for (const TensorView& tensor : file->tensors()) {
    ASSAY_CHECK(file->find(tensor.name) == &tensor);
    ASSAY_CHECK_EQ(static_cast<size_t>(*num_elements(tensor.shape)) * dtype_bytes(tensor.dtype), tensor.bytes.size());
    covered += tensor.bytes.size();
    const auto floats = to_floats(tensor);
    ASSAY_CHECK(floats.ok() || floats.status().code() == Code::unsupported);
  }
  ASSAY_CHECK_LE(covered, size);
  return 0;
}
