#include "evals/stats/estimate.h"

#include <doctest/doctest.h>

#include <cmath>

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
