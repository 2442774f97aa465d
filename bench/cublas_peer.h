#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>

namespace assay::bench {

// The vendor's bf16 product, for comparison: opens libcublasLt.so.13 (or $ASSAY_CUBLASLT) at run time.
class CublasPeer {
 public:
  virtual ~CublasPeer() = default;
  // out[m, n] bf16 = x[m, k] w[n, k]^T by suggestion `algorithm` of the library for this shape; false: there is none.
  virtual bool matmul(const __nv_bfloat16* w, const __nv_bfloat16* x, __nv_bfloat16* out, int64_t m, int64_t n,
                      int64_t k, int algorithm, cudaStream_t stream) = 0;
};

// nullptr, with the reason, where the library is not there.
std::unique_ptr<CublasPeer> open_cublas(std::string& why_not);

}  // namespace assay::bench
