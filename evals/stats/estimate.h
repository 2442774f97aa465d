#pragma once

#include <cstdint>
#include <string_view>
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

// Values whose plain mean is the aggregate, and whose spread gives its standard error to first order (the delta
// method): so a perplexity can be estimated, and compared pair by pair, like any mean. `aggregation` is a MetricInfo's:
// "mean" leaves the values as they are; "perplexity" is exp(-mean), "weighted_perplexity" exp(-sum / sum of weights),
// "bits_per_byte" -sum / sum of weights / ln 2, "weighted_mean" the mean of values that count as often as their weights
// say (IFEval's instructions). `weights` matter to the last three only.
std::vector<double> linearized(const std::vector<double>& values, const std::vector<double>& weights,
                               std::string_view aggregation);
// Whether an aggregate is a share of the samples, shown in percent.
bool is_share(std::string_view aggregation);

// Groups as lm-eval aggregates them: micro average over leaves, pooled standard error (tasks.md 2.14).
Estimate pool_by_size(const std::vector<Estimate>& leaves);
// Plain mean of the leaves' means, standard errors combined as independent.
Estimate pool_equally(const std::vector<Estimate>& leaves);

}  // namespace assay
