#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "engine/cuda/w4_layout.h"

namespace assay::bench {

// Queues random blocks of a shape without zero points: codes of normally distributed weights as rounding in groups of
// 128 leaves them, scales about 0.01. What bits a product moves decides its power, and power its clock.
void fill_blocks(const cuda::W4Shape& shape, void* blocks, uint64_t seed, cudaStream_t stream);

// Queues the weights of `blocks` as bf16 [n, k], rows in packed order: the peer multiplies the same numbers.
void expand_blocks(const cuda::W4Shape& shape, const void* blocks, __nv_bfloat16* dense, cudaStream_t stream);

}  // namespace assay::bench
