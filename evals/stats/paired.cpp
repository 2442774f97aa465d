#include "evals/stats/paired.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "engine/base/check.h"

namespace assay {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// First and second moments of two paired means.
struct Moments {
  double baseline = 0, candidate = 0;
  double var_baseline = 0, var_candidate = 0, covariance = 0;  // of the means
  double degrees_of_freedom = 0;
};

struct StratumSums {
  double n = 0, baseline = 0, candidate = 0, bb = 0, cc = 0, bc = 0;
};

// Means over all pairs; variances within strata only, since the strata (subjects) are fixed by the benchmark.
Moments moments_of(const PairedScores& scores) {
  const size_t n = scores.baseline.size();
  std::map<int32_t, StratumSums> strata;
  const auto stratum_of = [&](size_t i) { return scores.stratum.empty() ? 0 : scores.stratum[i]; };
  for (size_t i = 0; i < n; ++i) {
    StratumSums& s = strata[stratum_of(i)];
    s.n += 1;
    s.baseline += scores.baseline[i];
    s.candidate += scores.candidate[i];
  }
  for (size_t i = 0; i < n; ++i) {
    StratumSums& s = strata[stratum_of(i)];
    const double b = scores.baseline[i] - s.baseline / s.n;
    const double c = scores.candidate[i] - s.candidate / s.n;
    s.bb += b * b;
    s.cc += c * c;
    s.bc += b * c;
  }
  Moments m;
  const double total = static_cast<double>(n);
  for (const auto& [id, s] : strata) {
    m.baseline += s.baseline / total;
    m.candidate += s.candidate / total;
    if (s.n < 2) continue;
    const double weight = s.n / (s.n - 1) / (total * total);
    m.var_baseline += weight * s.bb;
    m.var_candidate += weight * s.cc;
    m.covariance += weight * s.bc;
    m.degrees_of_freedom += s.n - 1;
  }
  return m;
}

double quantile95(double degrees_of_freedom) {
  return degrees_of_freedom < 1 ? kInfinity : boost::math::quantile(boost::math::students_t(degrees_of_freedom), 0.975);
}

void set_difference(const Moments& m, double t, PairedComparison& out) {
  out.difference = m.candidate - m.baseline;
  out.difference_se = std::sqrt(std::max(0.0, m.var_baseline + m.var_candidate - 2 * m.covariance));
  const double half = out.difference_se == 0 ? 0 : t * out.difference_se;
  out.difference_low = out.difference - half;
  out.difference_high = out.difference + half;
}

// Fieller: the ratios r for which candidate - r * baseline is within t standard errors of 0.
void set_recovery(const Moments& m, double t, PairedComparison& out) {
  out.recovery = m.baseline == 0 ? std::numeric_limits<double>::quiet_NaN() : m.candidate / m.baseline;
  out.recovery_low = -kInfinity;
  out.recovery_high = kInfinity;
  if (m.baseline == 0 || !std::isfinite(t)) return;
  const double t2 = t * t;
  const double a = m.baseline * m.baseline - t2 * m.var_baseline;
  const double b = m.baseline * m.candidate - t2 * m.covariance;
  const double c = m.candidate * m.candidate - t2 * m.var_candidate;
  const double discriminant = b * b - a * c;
  if (a <= 0 || discriminant < 0) return;  // the baseline's own score is within noise of 0: no bounded interval
  out.recovery_bounded = true;
  out.recovery_low = (b - std::sqrt(discriminant)) / a;
  out.recovery_high = (b + std::sqrt(discriminant)) / a;
}

PairedComparison compare_moments(const Moments& m) {
  PairedComparison out;
  out.baseline = m.baseline;
  out.candidate = m.candidate;
  const double t = quantile95(m.degrees_of_freedom);
  set_difference(m, t, out);
  set_recovery(m, t, out);
  return out;
}

// Two-sided exact McNemar: the flips are fair coin tosses if the runs are equally good.
double mcnemar(int64_t lost, int64_t gained) {
  const int64_t flips = lost + gained;
  if (flips == 0) return 1;
  const boost::math::binomial fair(static_cast<double>(flips), 0.5);
  return std::min(1.0, 2 * boost::math::cdf(fair, static_cast<double>(std::min(lost, gained))));
}

bool is_zero_one(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; });
}

}  // namespace

PairedComparison compare_paired(const PairedScores& scores) {
  ASSAY_CHECK_EQ(scores.baseline.size(), scores.candidate.size());
  if (scores.baseline.empty()) return {};
  PairedComparison out = compare_moments(moments_of(scores));
  out.count = static_cast<int64_t>(scores.baseline.size());
  for (size_t i = 0; i < scores.baseline.size(); ++i) {
    out.lost += scores.baseline[i] >= 0.5 && scores.candidate[i] < 0.5;
    out.gained += scores.baseline[i] < 0.5 && scores.candidate[i] >= 0.5;
  }
  if (is_zero_one(scores.baseline) && is_zero_one(scores.candidate)) out.mcnemar_p = mcnemar(out.lost, out.gained);
  return out;
}

PairedComparison average_of(const std::vector<PairedComparison>& tasks, const std::vector<PairedScores>& scores) {
  ASSAY_CHECK_EQ(tasks.size(), scores.size());
  if (tasks.empty()) return {};
  const double k = static_cast<double>(tasks.size());
  Moments mean;
  for (const PairedScores& task : scores) {
    const Moments m = moments_of(task);
    mean.baseline += m.baseline / k;
    mean.candidate += m.candidate / k;
    mean.var_baseline += m.var_baseline / (k * k);
    mean.var_candidate += m.var_candidate / (k * k);
    mean.covariance += m.covariance / (k * k);
    mean.degrees_of_freedom += m.degrees_of_freedom;
  }
  PairedComparison out = compare_moments(mean);
  for (const PairedComparison& task : tasks) {
    out.count += task.count;
    out.lost += task.lost;
    out.gained += task.gained;
  }
  return out;
}

}  // namespace assay
