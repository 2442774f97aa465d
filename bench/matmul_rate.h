#pragma once

#include <cstdint>

#include "engine/base/status.h"

namespace assay {

// FLOP/s that oneDNN reaches here on bf16 inputs with float32 sums (float32 inputs where the processor has no bf16):
// the best of ten runs of [rows, columns_in] x [columns_in, columns_out] products. What the engine does is shown as a
// share of it, so that figures of a slower or a busier machine can be read. Errors: internal, what oneDNN said.
Result<double> measure_matmul_flops_per_s(int num_threads, int64_t rows, int64_t columns_in, int64_t columns_out);

}  // namespace assay
