#pragma once

#include "engine/cuda/w4a16.h"

namespace assay::cuda {

cudaError_t repack_on_device(const W4Source& in, const W4Shape& shape, void* blocks, cudaStream_t stream);

}  // namespace assay::cuda
