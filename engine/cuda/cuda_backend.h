#pragma once

#include <memory>
#include <string>

#include "engine/backend/backend.h"

namespace assay::cuda {

// Whether this machine has a device that the backend runs on; `why_not` (may be null) is told what is missing.
bool has_device(std::string* why_not);

// The forward pass on one Hopper GPU, the twin of the CPU's. Weights are bf16, or int4 as round_bf16((q - z) * s); what
// enters a product or the KV cache is rounded to bf16 once; the residual stream, sums, rotations, softmax, norms and
// logits stay float32. float32: dense weights exact, int4 weights still round_bf16((q - z) * s), everything else
// float32 by plain kernels, for comparisons. In bfloat16 the rows of generated tokens go through the W4A16 kernels
// where a layer is int4 in groups that those take, and given rows through dense products of the same weights: each at
// its own best rate, neither depending on how many rows there are. So a row's bits depend on its sequence's tokens and
// on which of them are generated (the contract of Backend), for a given device, library version and dtype. Everything
// is allocated at load, from shapes; what a batch may need beyond that (whole rows of logits, very many wishes) is had
// when it comes, or is out_of_memory. `weights` are views into a mapped checkpoint that is read during this call only.
// Errors: unavailable without driver, device or compute capability 9.0; out_of_memory says what was needed; unsupported
// names the dtype or the shape; invalid_argument for a KV budget below one block. A device that fails while it computes
// is internal: the message says when the process has to be started again.
Result<std::unique_ptr<Backend>> make_cuda_backend(const ModelConfig& config, const ModelWeights& weights,
                                                   const BackendOptions& options);

// Decoding steps that such a backend has replayed from a recording so far; 0 for any other backend.
int64_t num_replayed_steps(const Backend& backend);

}  // namespace assay::cuda
