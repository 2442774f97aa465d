#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/cuda/w4_layout.h"

namespace assay::bench {

// Queues a read of every byte; the sum of all words goes to *sink so that nothing can be left out.
void read_all(const void* data, int64_t bytes, uint32_t* sink, cudaStream_t stream);

// Random blocks: codes of any bits, scales about 0.01.
void fill_blocks(const cuda::W4Shape& shape, void* blocks, uint64_t seed, cudaStream_t stream);

}  // namespace assay::bench
