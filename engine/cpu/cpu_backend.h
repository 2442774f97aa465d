#pragma once

#include <memory>

#include "engine/backend/backend.h"
#include "engine/cpu/isa.h"

namespace assay::cpu {

// The forward pass on the processor, as fast as it does bf16 products: on AVX-512 BF16 own products over repacked
// weights, int4 unpacked on the way; everywhere else, and for float32, products by oneDNN in float32. OpenMP threads,
// attention over KV blocks. Runs on any x86-64. Numerics, bfloat16: weights bf16, int4 weights as round_bf16((q - z) *
// s); what enters a product or the KV cache is rounded to bf16 once (norm, projection, attention and MLP outputs, keys
// and values); the residual stream, sums, rotations, softmax, norms and logits stay float32, which halves the distance
// to the float32 model that a bf16 stream would have. float32: dense weights converted exactly, int4 weights still
// round_bf16((q - z) * s), everything else float32. A row's bits depend on its sequence's tokens only (the contract of
// Backend), for a given machine and dtype; they do not depend on the number of threads. Memory: weights are repacked
// once; what is repacked gives the checkpoint's pages back, so that the process holds about the checkpoint's bytes.
// Float16 and float32 weights stay float32 when the dtype is float32. `weights` are views into a mapped checkpoint that
// must stay open while the backend lives. Errors: out_of_memory says what was needed; unsupported names the dtype, or a
// head_dim that is not a multiple of 16 up to 256; invalid_argument for a KV budget below one block.
Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config, const ModelWeights& weights,
                                                  const BackendOptions& options);

// The same with the instructions of a lesser processor: how tests run every path on one machine.
// REQUIRES: isa is not richer than best_instruction_set().
Result<std::unique_ptr<Backend>> make_cpu_backend(const ModelConfig& config, const ModelWeights& weights,
                                                  const BackendOptions& options, InstructionSet isa);

}  // namespace assay::cpu
