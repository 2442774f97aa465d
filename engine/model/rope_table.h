#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/model_config.h"

namespace assay {

// Inverse frequencies of pair j, j in [0, head_dim / 2), computed in float32 as Transformers does, scaling applied.
// Formulas: model.md 1.1 (plain, llama3), 3.1; yarn: Peng et al. YaRN. 2023.
std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim);

// Cosines and sines for positions [0, num_positions): angle = position * inv_freq in float32, times the attention
// factor of yarn (1 otherwise). Half rotation (NeoX order): pair j is (x[j], x[j + head_dim / 2]).
struct RopeTable {
  int64_t half_dim = 0;
  std::vector<float> cos;  // [num_positions, half_dim]
  std::vector<float> sin;  // [num_positions, half_dim]
};
RopeTable make_rope_table(const RopeConfig& rope, int64_t head_dim, int64_t num_positions);

}  // namespace assay
