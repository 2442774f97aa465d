#include "evals/stats/estimate.h"

#include <cmath>

#include "engine/base/check.h"

namespace assay {
namespace {

constexpr double kNormal95 = 1.959963984540054;

Estimate with_half_width(Estimate estimate) {
  estimate.half_width95 = kNormal95 * estimate.standard_error;
  return estimate;
}

}  // namespace

Estimate estimate_mean(const std::vector<double>& values) {
  Estimate estimate;
  estimate.count = static_cast<int64_t>(values.size());
  if (values.empty()) return estimate;
  const double n = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  estimate.mean = sum / n;
  if (values.size() < 2) return estimate;
  double squares = 0;
  for (const double value : values) squares += (value - estimate.mean) * (value - estimate.mean);
  estimate.standard_error = std::sqrt(squares / (n - 1)) / std::sqrt(n);
  return with_half_width(estimate);
}

bool is_share(std::string_view aggregation) { return aggregation == "mean" || aggregation == "weighted_mean"; }

namespace {

std::vector<double> linearized_shares(const std::vector<double>& values, const std::vector<double>& weights) {
  double sum = 0, total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i] * weights[i];
    total += weights[i];
  }
  if (total <= 0) return values;
  const double mean = sum / total, mean_weight = total / static_cast<double>(values.size());
  std::vector<double> influence;
  for (size_t i = 0; i < values.size(); ++i) influence.push_back(mean + weights[i] * (values[i] - mean) / mean_weight);
  return influence;
}

}  // namespace

std::vector<double> linearized(const std::vector<double>& values, const std::vector<double>& weights,
                               std::string_view aggregation) {
  if (aggregation == "mean" || values.empty()) return values;
  const bool weighted = aggregation != "perplexity";
  ASSAY_CHECK(!weighted || weights.size() == values.size());
  if (aggregation == "weighted_mean") return linearized_shares(values, weights);
  const auto weight = [&](size_t i) { return weighted ? weights[i] : 1.0; };
  double sum = 0, total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i];
    total += weight(i);
  }
  const double mean = sum / total, mean_weight = total / static_cast<double>(values.size());
  const bool bits = aggregation == "bits_per_byte";
  const double result = bits ? -mean / std::log(2.0) : std::exp(-mean);
  const double slope = bits ? -1 / std::log(2.0) : -result;
  std::vector<double> influence;
  for (size_t i = 0; i < values.size(); ++i)
    influence.push_back(result + slope * (values[i] - mean * weight(i)) / mean_weight);
  return influence;
}

Estimate pool_by_size(const std::vector<Estimate>& leaves) {
  Estimate pooled;
  double weighted = 0, variance = 0;
  for (const Estimate& leaf : leaves) {
    const double n = static_cast<double>(leaf.count);
    pooled.count += leaf.count;
    weighted += leaf.mean * n;
    variance += (n - 1) * leaf.standard_error * leaf.standard_error * n;
  }
  if (pooled.count == 0) return pooled;
  const double total = static_cast<double>(pooled.count);
  const double free = total - static_cast<double>(leaves.size());
  pooled.mean = weighted / total;
  pooled.standard_error = free > 0 ? std::sqrt(variance / free / total) : 0;
  return with_half_width(pooled);
}

Estimate pool_equally(const std::vector<Estimate>& leaves) {
  Estimate pooled;
  if (leaves.empty()) return pooled;
  double variance = 0;
  for (const Estimate& leaf : leaves) {
    pooled.count += leaf.count;
    pooled.mean += leaf.mean;
    variance += leaf.standard_error * leaf.standard_error;
  }
  const double k = static_cast<double>(leaves.size());
  pooled.mean /= k;
  pooled.standard_error = std::sqrt(variance) / k;
  return with_half_width(pooled);
}

}  // namespace assay
