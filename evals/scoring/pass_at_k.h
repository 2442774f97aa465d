#pragma once

#include <cstdint>

namespace assay {

// The unbiased estimate of how likely one of k programs is right, from c right ones of n; 1 where fewer than k are
// wrong. Based on: Chen et al. Evaluating Large Language Models Trained on Code. 2021
double pass_at_k(int64_t n, int64_t c, int64_t k);

}  // namespace assay
