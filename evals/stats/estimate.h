#pragma once

#include <cstdint>
#include <vector>

namespace assay {

// A mean with its uncertainty.
struct Estimate {
  int64_t count = 0;
  double mean = 0;
  double standard_error = 0;  // sample standard deviation (n - 1) / sqrt(n); 0 for n < 2
  double half_width95 = 0;    // 1.96 standard errors
};
Estimate estimate_mean(const std::vector<double>& values);

// Groups as lm-eval aggregates them: micro average over leaves, pooled standard error (tasks.md 2.14).
Estimate pool_by_size(const std::vector<Estimate>& leaves);
// Plain mean of the leaves' means, standard errors combined as independent.
Estimate pool_equally(const std::vector<Estimate>& leaves);

}  // namespace assay
