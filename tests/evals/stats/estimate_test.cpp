#include "evals/stats/estimate.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/rng.h"

using namespace assay;

TEST_CASE("a mean has the standard error of the sample") {
  const Estimate e = estimate_mean({0.1, 0.4, 0.35, 0.8});
  CHECK(e.count == 4);
  CHECK(e.mean == doctest::Approx(0.4125).epsilon(1e-12));
  CHECK(e.standard_error == doctest::Approx(0.14487782208928093).epsilon(1e-9));
  CHECK(e.half_width95 == doctest::Approx(1.959964 * e.standard_error).epsilon(1e-6));
  CHECK(estimate_mean({}).count == 0);
  CHECK(estimate_mean({1}).standard_error == 0);
}

TEST_CASE("pooling by size is the mean over all questions, with lm-eval's pooled standard error") {
  const Estimate a = estimate_mean({1, 0, 1, 1}), b = estimate_mean({0, 0, 1, 0, 0, 1});
  const Estimate pooled = pool_by_size({a, b});
  CHECK(pooled.count == 10);
  CHECK(pooled.mean == doctest::Approx(0.5));
  const double variance =
      (3 * a.standard_error * a.standard_error * 4 + 5 * b.standard_error * b.standard_error * 6) / 8;
  CHECK(pooled.standard_error == doctest::Approx(std::sqrt(variance / 10)));
  CHECK(pool_equally({a, b}).mean == doctest::Approx((0.75 + 2.0 / 6) / 2));
  CHECK(pool_by_size({}).count == 0);
}

TEST_CASE("linearized values average to the aggregate and leave plain means alone") {
  const std::vector<double> sums = {-10, -40, -24}, weights = {5, 10, 9};
  CHECK(linearized(sums, {}, "mean") == sums);
  CHECK(estimate_mean(linearized(sums, {}, "perplexity")).mean == doctest::Approx(std::exp(74.0 / 3)));
  CHECK(estimate_mean(linearized(sums, weights, "weighted_perplexity")).mean == doctest::Approx(std::exp(74.0 / 24)));
  CHECK(estimate_mean(linearized(sums, weights, "bits_per_byte")).mean == doctest::Approx(74.0 / 24 / std::log(2.0)));
  CHECK(linearized({}, {}, "perplexity").empty());
  CHECK(estimate_mean(linearized({1, 0, 0.5}, {1, 1, 2}, "weighted_mean")).mean == doctest::Approx(0.5));
  CHECK(estimate_mean(linearized({1, 1, 0}, {1, 1, 3}, "weighted_mean")).mean == doctest::Approx(0.4));
  CHECK(linearized({1, 0}, {2, 2}, "weighted_mean") == std::vector<double>{1, 0});
  CHECK(is_share("weighted_mean"));
  CHECK(is_share("mean"));
  CHECK_FALSE(is_share("perplexity"));
}

TEST_CASE("a perplexity's standard error is what resampling finds") {
  std::vector<double> sums;
  for (uint64_t i = 0; i < 400; ++i) sums.push_back(-3.0 * static_cast<double>(random_bits(1, i, 0) % 1000) / 1000);
  std::vector<double> resampled;
  for (uint64_t round = 0; round < 2000; ++round) {
    double sum = 0;
    for (uint64_t i = 0; i < sums.size(); ++i) sum += sums[random_bits(2, round, i) % sums.size()];
    resampled.push_back(std::exp(-sum / static_cast<double>(sums.size())));
  }
  const double spread = estimate_mean(resampled).standard_error * std::sqrt(2000.0);
  CHECK(estimate_mean(linearized(sums, {}, "perplexity")).standard_error == doctest::Approx(spread).epsilon(0.06));
}
