#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>

#include "engine/base/status.h"

namespace assay::cuda {

// One kind of product of bf16 matrices: out [m, n] = x [m, k] w [n, k]^T, float32 sums.
struct BlasShape {
  int64_t n = 0, k = 0;
  bool float_out = false;  // else bf16
  bool add = false;        // to what out holds; float_out only

  auto operator<=>(const BlasShape&) const = default;
};

// cuBLASLt, opened at run time, with algorithms fixed once per shape so that a row's bits do not depend on m.
// The library would choose by m. Instead prepare() takes the algorithm that it finds best for long batches (without
// split k, whose partial sums meet in another order) as the reference, and for each class of smaller m the first of its
// suggestions whose results on random rows have the reference's bits: tiles and instructions differ, but each sum still
// runs over k in the same order. Where no suggestion agrees the reference serves that class too; where the reference
// does not agree with itself at another m, the shape is left to own kernels.
class Blas {
 public:
  virtual ~Blas() = default;

  // Errors: unavailable names the places that were tried. ASSAY_CUBLASLT may hold the library's path.
  static Result<std::unique_ptr<Blas>> open();

  virtual const std::string& version() const = 0;  // "13.1.1"

  // Fixes the algorithms of a shape with weights like `w`; does nothing when that was done. Needs device memory for a
  // moment; without enough the shape stays unprepared.
  virtual Status prepare(const BlasShape& shape, const void* w, cudaStream_t stream) = 0;
  virtual bool is_prepared(const BlasShape& shape) const = 0;

  // REQUIRES: is_prepared(shape); x, w, out 16-byte aligned.
  virtual Status multiply(const BlasShape& shape, const void* x, const void* w, int64_t m, void* out, int64_t out_ld,
                          cudaStream_t stream) = 0;
};

}  // namespace assay::cuda
