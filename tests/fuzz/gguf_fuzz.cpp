// Any bytes opened as a GGUF file give a typed error, or tensors that lie inside the file and decode.

#include <vector>

#include "engine/base/check.h"
#include "engine/formats/gguf.h"
#include "engine/formats/gguf_dequant.h"
#include "engine/formats/tensor.h"
#include "tests/fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace assay;
  const fuzz::MemoryFile memory(data, size);
  const auto file = GgufFile::open(memory.path());
  if (!file.ok()) {
    ASSAY_CHECK(!file.status().message().empty());
    return 0;
  }
  for (const auto& [key, value] : file->metadata()) {
    ASSAY_CHECK(file->get_int(key).ok() || file->get_real(key).ok() || file->get_string(key).ok() ||
                file->get_bool(key).ok() || file->get_ints(key).ok() || file->get_strings(key).ok() ||
                value.value.index() >= 5 ||
                value.value.index() == 1);  // arrays of reals and booleans, integers over 2^63
  }
  for (const GgufTensor& tensor : file->tensors()) {
    ASSAY_CHECK(file->find(tensor.name) == &tensor);
    const int64_t count = *num_elements(tensor.shape);
    std::vector<float> values(static_cast<size_t>(count));
    gguf_dequantize(tensor.type, tensor.bytes, count, values.data());
  }
  return 0;
}
