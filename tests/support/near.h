#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <span>
#include <vector>

namespace assay::testing {

// Where two arrays differ most, and by how much as a whole. Anything that is not a number counts as infinitely far.
struct Distance {
  double relative = 0;  // ||got - want|| / ||want||
  double largest = 0;   // of |got - want|
  size_t at = 0;        // index of the largest
};

template <class Got, class Want>
Distance distance(const Got& got, const Want& want) {
  Distance result;
  if (std::size(got) != std::size(want))
    return {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity(), 0};
  double error = 0, norm = 0;
  for (size_t i = 0; i < std::size(want); ++i) {
    const double off = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    const double counted = std::isnan(off) ? std::numeric_limits<double>::infinity() : off;
    if (counted > result.largest) {
      result.largest = counted;
      result.at = i;
    }
    error += counted * counted;
    norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  result.relative = norm > 0 ? std::sqrt(error / norm) : (error > 0 ? std::numeric_limits<double>::infinity() : 0);
  return result;
}

inline std::vector<float> nans(size_t count) {
  return std::vector<float>(count, std::numeric_limits<float>::quiet_NaN());
}

// Normally distributed floats, other ones for every seed.
inline std::vector<float> random_normals(size_t count, uint64_t seed, float deviation = 1.0f) {
  std::mt19937_64 bits(seed);
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<float> values(count);
  for (float& value : values) value = normal(bits);
  return values;
}

}  // namespace assay::testing
