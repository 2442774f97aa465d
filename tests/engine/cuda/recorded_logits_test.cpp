#include "tests/engine/recorded_logits.h"

#include <doctest/doctest.h>

#include "engine/cuda/cuda_backend.h"
#include "tests/engine/cuda/on_device.h"

using namespace assay;

TEST_CASE(
    "float32 logits of the tiny checkpoint on the device are the recorded ones within 1e-4, dense and quantized") {
  ASSAY_NEEDS_DEVICE();
  testing::check_recorded_logits_in_float32(cuda::make_cuda_backend);
}

TEST_CASE(
    "bfloat16 log-probabilities of the tiny checkpoint on the device stay within the library's own bfloat16 noise") {
  ASSAY_NEEDS_DEVICE();
  testing::check_recorded_logits_in_bfloat16(cuda::make_cuda_backend);
}
