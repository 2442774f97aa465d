#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/model_config.h"
#include "engine/model/tensor_table.h"

namespace assay::testing {

// The network's operations as plain loops in double: what kernels are compared with. Nothing is rounded.

// x [width] times weight [width] over the root mean square.
std::vector<double> reference_rms_norm(std::span<const double> x, std::span<const float> weight, double eps);

// heads [num_heads, head_dim], pair (j, j + head_dim / 2) turned by the angle with cos[j], sin[j].
void reference_rotate(std::span<double> heads, int64_t head_dim, std::span<const float> cos,
                      std::span<const float> sin);

// One query of one head over keys, values [num_keys, head_dim]; keys [first, last] are seen.
std::vector<double> reference_attend(std::span<const double> query, std::span<const double> keys,
                                     std::span<const double> values, int64_t first, int64_t last);

double reference_silu(double x);

// y[n] = sum_k x[k] W[n, k].
std::vector<double> reference_product(std::span<const double> x, std::span<const float> weight, int64_t out_features);

// log(exp(logits[i]) / sum exp(logits)) for every i.
std::vector<double> reference_logprobs(std::span<const double> logits);

// A linear's weight [out, in] as every backend multiplies with it: dense values, or round_bf16((q - z) * s).
std::vector<float> reference_weight(const LinearWeight& linear);

// Logits of every position of one sequence, the whole decoder in double.
std::vector<std::vector<double>> reference_logits(const ModelConfig& config, const ModelWeights& weights,
                                                  const std::vector<int32_t>& tokens);

}  // namespace assay::testing
