#pragma once

#include <memory>

#include "engine/backend/backend.h"

namespace assay::cpu {

// The forward pass on the processor: oneDNN products (bf16 in, float32 sums; or float32 throughout), own int4 unpacking,
// OpenMP attention over KV blocks. Runs on any x86-64; fast with AVX-512 BF16.
// Numerics, bfloat16: weights bf16, int4 weights as round_bf16((q - z) * s); activations rounded to bf16 where the reference
// model does (norm outputs, projections, attention output, residual stream); sums, softmax and norms in float32.
// float32: dense weights converted exactly, int4 weights still round_bf16((q - z) * s), everything else float32.
// `weights` are views into a mapped checkpoint that must stay open while the backend lives.
// Errors: out_of_memory says what was needed; unsupported names the dtype.
Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config, const ModelWeights& weights,
                                                  const BackendOptions& options);

}  // namespace assay::cpu
