#include "engine/model/rope_table.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/base/check.h"

namespace assay {
namespace {

// theta ^ (2j / head_dim), the wavelengths over 2 pi. The power is taken in double and rounded once, which is what a
// float32 power with less than one unit of error nearly always gives.
std::vector<float> position_periods(double theta, int64_t head_dim) {
  std::vector<float> periods(static_cast<size_t>(head_dim / 2));
  for (size_t j = 0; j < periods.size(); ++j) {
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    periods[j] =
        static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), static_cast<double>(exponent)));
  }
  return periods;
}

// Long waves are stretched by `factor`, short ones stay, those between are mixed.
void scale_llama3(const RopeConfig& rope, std::vector<float>& frequencies) {
  const auto context = static_cast<float>(rope.original_max_position);
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor), high = static_cast<float>(rope.high_freq_factor);
  const auto longest_kept = static_cast<float>(rope.original_max_position / rope.high_freq_factor);
  const auto shortest_stretched = static_cast<float>(rope.original_max_position / rope.low_freq_factor);
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wavelength < longest_kept) continue;
    if (wavelength > shortest_stretched) {
      frequency /= factor;
      continue;
    }
    const float smooth = (context / wavelength - low) / (high - low);
    frequency = (1 - smooth) * frequency / factor + smooth * frequency;
  }
}

// The pair, as a real number, that turns `rotations` times within the original context.
double yarn_pair_of(double rotations, const RopeConfig& rope, int64_t head_dim) {
  const double turns = static_cast<double>(rope.original_max_position) / (rotations * 2 * std::numbers::pi);
  return static_cast<double>(head_dim) * std::log(turns) / (2 * std::log(rope.theta));
}

// Pairs before `low` keep their frequency, those after `high` are interpolated, a ramp lies between.
std::vector<float> yarn_frequencies(const RopeConfig& rope, int64_t head_dim) {
  double low = yarn_pair_of(rope.beta_fast, rope, head_dim), high = yarn_pair_of(rope.beta_slow, rope, head_dim);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(head_dim - 1));
  if (low == high) high += 0.001;
  std::vector<float> frequencies = position_periods(rope.theta, head_dim);
  for (size_t j = 0; j < frequencies.size(); ++j) {
    const float period = frequencies[j];
    const float ramp = (static_cast<float>(j) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1 - std::clamp(ramp, 0.0f, 1.0f);
    const float interpolated = 1.0f / (static_cast<float>(rope.factor) * period);
    frequencies[j] = interpolated * (1 - kept) + (1.0f / period) * kept;
  }
  return frequencies;
}

}  // namespace

std::vector<float> rope_inverse_frequencies(const RopeConfig& rope, int64_t head_dim) {
  ASSAY_CHECK(head_dim > 0 && head_dim % 2 == 0);
  if (rope.kind == RopeConfig::Kind::yarn) return yarn_frequencies(rope, head_dim);
  std::vector<float> frequencies = position_periods(rope.theta, head_dim);
  for (float& frequency : frequencies) frequency = 1.0f / frequency;
  if (rope.kind == RopeConfig::Kind::linear) {
    for (float& frequency : frequencies) frequency /= static_cast<float>(rope.factor);
  }
  if (rope.kind == RopeConfig::Kind::llama3) scale_llama3(rope, frequencies);
  return frequencies;
}

RopeTable make_rope_table(const RopeConfig& rope, int64_t head_dim, int64_t num_positions) {
  const std::vector<float> frequencies = rope_inverse_frequencies(rope, head_dim);
  const float magnitude =
      rope.kind == RopeConfig::Kind::yarn ? static_cast<float>(rope.attention_factor.value_or(1.0)) : 1.0f;
  RopeTable table;
  table.half_dim = head_dim / 2;
  const size_t size = static_cast<size_t>(num_positions) * frequencies.size();
  table.cos.reserve(size);
  table.sin.reserve(size);
  for (int64_t position = 0; position < num_positions; ++position) {
    for (const float frequency : frequencies) {
      const float angle = static_cast<float>(position) * frequency;
      table.cos.push_back(std::cos(angle) * magnitude);
      table.sin.push_back(std::sin(angle) * magnitude);
    }
  }
  return table;
}

}  // namespace assay
