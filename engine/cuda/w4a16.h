#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <string>

#include "engine/base/status.h"
#include "engine/cuda/launch_plan.h"
#include "engine/cuda/w4_layout.h"

namespace assay::cuda {

// A packed matrix on the device (repack.h makes it): W[r, c] = round_bf16((code - 8 - zero) * scale).
struct W4Matrix {
  W4Shape shape;
  const void* blocks = nullptr;  // shape.bytes(), 128-byte aligned
};

// What becomes of a product's float32 sums.
struct W4Epilogue {
  enum class Kind : uint8_t {
    store,    // bf16 out[m, n] = the sum
    add,      // float out[m, n] += the sum: the residual stream
    swiglu,   // packed rows 2 j and 2 j + 1 are gate j and up j: bf16 out[m, n / 2] = silu(g) * u, both rounded to bf16
    float32,  // float out[m, n] = the sum
  };
  Kind kind = Kind::store;
  void* out = nullptr;
  int64_t ld = 0;               // elements from row to row of out, even
  const float* bias = nullptr;  // [n] in W's packed row order, added to the sum first; or none
};

// Device bytes that w4a16_matmul needs for a product planned so. They must be zero before the first product; each
// product leaves the part that it relies on zero again, so one buffer serves all products of one stream.
int64_t w4a16_workspace_bytes(const W4Shape& shape, int64_t m, const LaunchPlan& plan);

// Queues out = epilogue(x W^T).
//   x  [m, ldx] bf16, 16-byte aligned; ldx a multiple of 8, at least k
//   ran      tests: set to the name of the kernel that was launched
// REQUIRES: k a multiple of 8; out aligned to two elements; workspace 256-byte aligned.
// Numerics: float32 sums of round_bf16 weights in one order per shape (launch_plan.h), so with plan.batch_invariant a
// row's bits depend on that row of x and on W only.
// Errors: unsupported (no such kernel was compiled); internal (a launch failed).
Status w4a16_matmul(const W4Matrix& w, const __nv_bfloat16* x, int64_t ldx, int64_t m, const W4Epilogue& epilogue,
                    const LaunchPlan& plan, void* workspace, cudaStream_t stream, std::string* ran = nullptr);

// Lets the kernels use the shared memory that their plans ask for; once a device, before a stream capture.
Status w4a16_prepare();

// On the device: codes u32 [n, ceil(k / 8)] (column c in bits 4 * (c % 8)), scales float [n, num_groups], zeros
// i8 [n, num_groups] (may be null) -> shape.bytes() of blocks. interleave_halves: source rows [0, n / 2) become the
// even packed rows and the rest the odd ones, as the swiglu epilogue wants.
struct W4Source {
  const uint32_t* codes = nullptr;
  const float* scales = nullptr;
  const int8_t* zeros = nullptr;
  int64_t group_size = 128;  // columns; k: one group a row
  bool interleave_halves = false;
};
Status w4a16_repack(const W4Source& source, const W4Shape& shape, void* blocks, cudaStream_t stream);

}  // namespace assay::cuda
