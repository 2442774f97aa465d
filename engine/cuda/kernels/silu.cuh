#pragma once

namespace assay::cuda {

// x / (1 + e^-x), by the quick division and exponential (2 ulp each): every kernel that gates asks here, for equal
// bits.
__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

}  // namespace assay::cuda
