// Expected figures: numpy and SciPy 1.17 (t quantiles, covariance, binomtest) on the same lists.

#include "evals/stats/paired.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace assay;

namespace {
const std::vector<double> kBase = {1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 1, 1};
const std::vector<double> kCand = {1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1};
}  // namespace

TEST_CASE("difference, recovery, interval and flips of two paired columns") {
  const PairedComparison c = compare_paired({kBase, kCand, {}});
  CHECK(c.count == 20);
  CHECK(c.difference == doctest::Approx(-0.05));
  CHECK(c.difference_se == doctest::Approx(0.08810878443570107).epsilon(1e-9));
  CHECK(c.difference_low == doctest::Approx(-0.23441380522859873).epsilon(1e-9));
  CHECK(c.recovery == doctest::Approx(0.9375));
  REQUIRE(c.recovery_bounded);
  CHECK(c.recovery_low == doctest::Approx(0.7239656254122232).epsilon(1e-9));
  CHECK(c.recovery_high == doctest::Approx(1.1892638805648061).epsilon(1e-9));
  CHECK(c.lost == 2);
  CHECK(c.gained == 1);
  CHECK(c.mcnemar_p == 1.0);
}

TEST_CASE("McNemar is exact") {
  std::vector<double> base(15, 0.0), cand(15, 1.0);
  for (size_t i = 0; i < 3; ++i) std::swap(base[i], cand[i]);
  CHECK(compare_paired({base, cand, {}}).mcnemar_p.value() == doctest::Approx(0.03515625));
  base[0] = 0.25;  // the share of several answers: no coin was tossed
  CHECK_FALSE(compare_paired({base, cand, {}}).mcnemar_p.has_value());
}

TEST_CASE("equal columns recover everything, exactly") {
  const PairedComparison c = compare_paired({kBase, kBase, {}});
  CHECK(c.recovery == 1);
  CHECK(c.recovery_low == doctest::Approx(1).epsilon(1e-9));
  CHECK(c.recovery_high == doctest::Approx(1).epsilon(1e-9));
  CHECK(c.difference_low == 0);
  CHECK(c.mcnemar_p == 1);
}

TEST_CASE("a baseline within noise of zero has no bounded recovery") {
  std::vector<double> base(50, 0.0), cand(50, 0.0);
  base[0] = 1;
  cand[1] = 1;
  const PairedComparison c = compare_paired({base, cand, {}});
  CHECK_FALSE(c.recovery_bounded);
  CHECK(std::isinf(c.recovery_high));
  const PairedComparison none = compare_paired({std::vector<double>(5, 0.0), std::vector<double>(5, 0.0), {}});
  CHECK(std::isnan(none.recovery));
  CHECK(compare_paired({}).count == 0);
}

TEST_CASE("strata take the difference between subjects out of the variance") {
  PairedScores scores;
  for (int i = 0; i < 40; ++i) {
    scores.baseline.push_back(i < 20 ? 0.9 + 0.01 * (i % 2) : 0.1 + 0.01 * (i % 2));
    scores.candidate.push_back(i < 20 ? 0.5 : 0.1);
    scores.stratum.push_back(i < 20 ? 0 : 1);
  }
  PairedScores pooled = scores;
  pooled.stratum.clear();
  CHECK(compare_paired(scores).difference_se < 0.1 * compare_paired(pooled).difference_se);
  CHECK(compare_paired(scores).difference == doctest::Approx(compare_paired(pooled).difference));
}

TEST_CASE("the average row is the ratio of the two means, not the mean of ratios") {
  const PairedScores first{std::vector<double>{1, 1, 1, 0}, std::vector<double>{1, 1, 0, 0}, {}};
  const PairedScores second{std::vector<double>{0, 0, 1, 0}, std::vector<double>{0, 1, 1, 0}, {}};
  const PairedComparison average = average_of({compare_paired(first), compare_paired(second)}, {first, second});
  CHECK(average.baseline == doctest::Approx(0.5));
  CHECK(average.candidate == doctest::Approx(0.5));
  CHECK(average.recovery == doctest::Approx(1.0));
  CHECK(average.lost == 1);
  CHECK(average.gained == 1);
}
