#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/formats/compressed_tensors.h"
#include "engine/formats/quant_scheme.h"

namespace assay {

// Scales and zero points of a weight [out, in] (floats of bf16 values), one a row and group, as compressed-tensors'
// min-max observer makes them from a bf16 weight (model.md 6.4 and its corrections): range widened to hold 0; symmetric
// s = max(|lo|, |hi|) / 7.5; asymmetric s = (hi - lo) / 15, z = clamp(round(-8 - lo / s), -8, 7), each step rounded to
// bf16; zero scales become bf16's epsilon. `scales` are exactly representable in bf16.
struct GroupParameters {
  std::vector<float> scales;        // [out, groups]
  std::vector<int8_t> zero_points;  // [out, groups]; empty when symmetric
};
GroupParameters group_parameters(std::span<const float> weight, int64_t out_features, int64_t in_features,
                                 const QuantScheme& scheme);

// Round to nearest: code = round_half_even(clamp(w / s + z, -8, 7)), per element, arithmetic in the library's order.
UnpackedLinear quantize_rtn(std::span<const float> weight, int64_t out_features, int64_t in_features,
                            const QuantScheme& scheme);

}  // namespace assay
