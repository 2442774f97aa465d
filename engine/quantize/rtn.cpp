#include "engine/quantize/rtn.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "engine/formats/tensor.h"

namespace assay {
namespace {

constexpr float kBf16Epsilon = 0x1p-7f;

// Every step of the library is an operation on bf16 tensors: computed in float32, rounded once.
float to_bf16(float value) { return bf16_to_float(float_to_bf16(value)); }

struct CodeRange {
  float low, high;
  explicit CodeRange(int bits)
      : low(static_cast<float>(-(1 << (bits - 1)))), high(static_cast<float>((1 << (bits - 1)) - 1)) {}
  float width() const { return high - low; }
};

struct GroupParameter {
  float scale = 0;
  int8_t zero_point = 0;
};

// 0 / 0 for a group of zeros: the library's cast gives zero point 0.
int8_t round_zero_point(float value, const CodeRange& range) {
  if (std::isnan(value)) return 0;
  return static_cast<int8_t>(std::nearbyint(std::clamp(value, range.low, range.high)));
}

GroupParameter parameter_of(std::span<const float> group, const CodeRange& range, bool symmetric) {
  const auto [low_it, high_it] = std::minmax_element(group.begin(), group.end());
  const float low = std::min(*low_it, 0.0f), high = std::max(*high_it, 0.0f);
  GroupParameter parameter;
  if (symmetric) {
    parameter.scale = to_bf16(std::max(-low, high) / (range.width() / 2));
  } else {
    parameter.scale = to_bf16(to_bf16(high - low) / range.width());
    parameter.zero_point = round_zero_point(to_bf16(range.low - to_bf16(low / parameter.scale)), range);
  }
  if (parameter.scale == 0) parameter.scale = kBf16Epsilon;
  return parameter;
}

int64_t columns_a_group(const QuantScheme& scheme, int64_t in_features) {
  const int64_t columns = scheme.group_size == 0 ? in_features : scheme.group_size;
  ASSAY_CHECK(columns > 0 && in_features % columns == 0);
  return columns;
}

int8_t code_of(float weight, float scale, float zero_point, const CodeRange& range) {
  const float scaled = to_bf16(to_bf16(weight / scale) + zero_point);
  return static_cast<int8_t>(std::nearbyint(std::clamp(scaled, range.low, range.high)));
}

}  // namespace

GroupParameters group_parameters(std::span<const float> weight, int64_t out_features, int64_t in_features,
                                 const QuantScheme& scheme) {
  ASSAY_CHECK_EQ(static_cast<int64_t>(weight.size()), out_features * in_features);
  const int64_t columns = columns_a_group(scheme, in_features);
  const CodeRange range(scheme.bits);
  GroupParameters parameters;
  const auto num_groups = weight.size() / static_cast<size_t>(columns);
  parameters.scales.reserve(num_groups);
  for (size_t group = 0; group < num_groups; ++group) {
    const auto values = weight.subspan(group * static_cast<size_t>(columns), static_cast<size_t>(columns));
    const GroupParameter parameter = parameter_of(values, range, scheme.symmetric);
    parameters.scales.push_back(parameter.scale);
    if (!scheme.symmetric) parameters.zero_points.push_back(parameter.zero_point);
  }
  return parameters;
}

UnpackedLinear quantize_rtn(std::span<const float> weight, int64_t out_features, int64_t in_features,
                            const QuantScheme& scheme) {
  GroupParameters parameters = group_parameters(weight, out_features, in_features, scheme);
  const int64_t columns = columns_a_group(scheme, in_features);
  const CodeRange range(scheme.bits);
  UnpackedLinear linear;
  linear.out_features = out_features;
  linear.in_features = in_features;
  linear.num_groups = in_features / columns;
  linear.codes.reserve(weight.size());
  for (size_t i = 0; i < weight.size(); ++i) {
    const size_t group = i / static_cast<size_t>(columns);
    const float zero_point = scheme.symmetric ? 0.0f : static_cast<float>(parameters.zero_points[group]);
    linear.codes.push_back(code_of(weight[i], parameters.scales[group], zero_point, range));
  }
  linear.scales = std::move(parameters.scales);
  linear.zero_points = std::move(parameters.zero_points);
  linear.group_of_column.reserve(static_cast<size_t>(in_features));
  for (int64_t column = 0; column < in_features; ++column) {
    linear.group_of_column.push_back(static_cast<int32_t>(column / columns));
  }
  return linear;
}

}  // namespace assay
