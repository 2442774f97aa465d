#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "engine/base/status.h"
#include "engine/cuda/device.h"
#include "engine/cuda/w4_layout.h"

namespace assay::cuda {

class Blas;  // blas.h

// How activations and dense weights are stored.
enum class Element : uint8_t { bf16, f32 };
inline constexpr int element_bytes(Element element) { return element == Element::bf16 ? 2 : 4; }

// What becomes of a product's float32 sums. Bias (if the layer has one) is added first, in float32.
struct Epilogue {
  enum class Kind : uint8_t {
    store,    // out[m, n] = the sum, rounded to the activations' element
    add,      // float out[m, n] += the sum: the residual stream
    swiglu,   // rows [0, n/2) of W are gate, the others up: out[m, n/2] = silu(g) * u, where g and u are the sums
              // rounded to the element, silu and the product are float32, and the result is rounded once more
    float32,  // float out[m, n] = the sum
  };
  Kind kind = Kind::store;
  void* out = nullptr;
  int64_t ld = 0;  // elements from row to row of out
};

// W [n, k], row after row.
struct DenseWeight {
  DeviceBuffer data;  // bf16 or f32
};

// W = round_bf16((code - 8 - zero) * scale), as it lies in a compressed-tensors file: what dequantization reads.
struct Int4Weight {
  int64_t group_size = 0;        // columns; k when one group covers a row
  int64_t num_groups = 0;        // of a row
  DeviceBuffer codes;            // u32 [n, ceil(k / 8)], column c in bits 4 * (c % 8)
  DeviceBuffer scales;           // float [n, num_groups]
  DeviceBuffer zeros;            // i8 [n, num_groups], -8 to 7; empty when all are 0
  DeviceBuffer group_of_column;  // i32 [k]; empty when column c is of group c / group_size
};

// The same matrix in the order of the W4A16 kernels (w4_layout.h).
struct W4Weight {
  W4Shape shape;
  bool interleaved = false;  // gate and up rows take turns, as the swiglu epilogue wants; serves no other
  DeviceBuffer blocks;
  DeviceBuffer bias;  // float [n] in packed order, or empty
};

// One or several linear layers of the same input side by side: y = x W^T + bias.
struct Linear {
  std::string name;  // of its first part: "model.layers.0.self_attn.q_proj"
  int64_t n = 0;     // outputs of all parts
  int64_t k = 0;     // inputs, a multiple of 8
  Element element = Element::bf16;
  // What given rows are multiplied with; monostate: `packed`, made dense in scratch.
  std::variant<std::monostate, DenseWeight, Int4Weight> weight;
  std::optional<W4Weight> packed;  // what generated rows are multiplied with, where the kernels take the layer's groups
  DeviceBuffer bias;               // float [n], or empty

  bool is_dense() const { return std::holds_alternative<DenseWeight>(weight); }
};

// Device memory that one product at a time may scribble on, and what it may call.
struct Workspace {
  void* data = nullptr;        // 256-byte aligned
  int64_t bytes = 0;           // at least linear_workspace_bytes() of the layer
  Blas* blas = nullptr;        // null: own kernels only
  std::string* ran = nullptr;  // tests: set to the names of what ran, " + " between
  void* w4 = nullptr;          // of the W4A16 kernels: w4_workspace_bytes(), zeros before the first product
  int num_sms = 132;
  bool overlap = false;  // W4A16 kernels fetch their first weights while the kernel before drains
};

// Scratch that products of up to `max_rows` rows need, and zeros that W4A16 kernels keep. Host arithmetic only.
int64_t linear_workspace_bytes(const Linear& linear, int64_t max_rows);
int64_t w4_workspace_bytes(const Linear& linear, int64_t max_rows, int num_sms);

// Queues out = epilogue(x W^T) on the stream, all rows as given ones: dense products.
//   x  [m, k] in the layer's element, row after row, 16-byte aligned
// Numerics: float32 sums; a row's bits depend on that row of x and on W only, not on m nor on the row's place.
// Errors: internal (a launch or library call failed).
Status linear_forward(const Linear& linear, const void* x, int64_t m, const Epilogue& epilogue,
                      const Workspace& workspace, cudaStream_t stream);

// The same with the first `num_generated` rows of generated tokens: those go through the W4A16 kernels where the layer
// has `packed`, and the rest through linear_forward. The two differ in the order of their sums, so a row's bits depend
// on which of the two it is, and still on nothing else.
Status linear_forward_split(const Linear& linear, const void* x, int64_t num_generated, int64_t m,
                            const Epilogue& epilogue, const Workspace& workspace, cudaStream_t stream);

// Lets the library find its algorithms for this layer before the first product. A layer that was not prepared, or for
// which none keeps the numerics above, is multiplied by own kernels.
Status prepare_linear(const Linear& linear, Epilogue::Kind kind, const Workspace& workspace, cudaStream_t stream);

}  // namespace assay::cuda
