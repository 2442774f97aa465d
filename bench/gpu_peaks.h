#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace assay::bench {

// Queues a read of every byte; the sum of all words goes to *sink so that nothing can be left out.
void read_all(const void* data, int64_t bytes, uint32_t* sink, cudaStream_t stream);

}  // namespace assay::bench
