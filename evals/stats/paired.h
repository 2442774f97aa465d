#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "evals/stats/estimate.h"

namespace assay {

// Two runs over the same samples, one pair a sample.
struct PairedScores {
  std::vector<double> baseline;
  std::vector<double> candidate;  // same length, same order
  std::vector<int32_t> stratum;   // which leaf task a pair belongs to; empty: one
};

struct PairedComparison {
  int64_t count = 0;
  double baseline = 0, candidate = 0;  // means
  double difference = 0, difference_se = 0;
  double difference_low = 0, difference_high = 0;  // 95 %
  double recovery = 0;                             // candidate / baseline; NaN when the baseline is 0
  double recovery_low = 0, recovery_high = 0;      // 95 %; infinite ends when the baseline may be 0
  bool recovery_bounded = false;                   // whether the interval is an interval (Fieller's g < 1)
  int64_t lost = 0, gained = 0;                    // pairs that fell below 0.5 or rose to it: flips of 0/1 scores
  std::optional<double> mcnemar_p;                 // exact, two-sided; nothing where scores are not 0/1
};

// Differences pair by pair; the ratio's interval is Fieller's, from the pairs' variances and covariance.
// Based on: Fieller. Some problems in interval estimation. 1954; McNemar. 1947.
PairedComparison compare_paired(const PairedScores& scores);

// The plain mean over tasks of two columns, and the ratio of those means with an interval by the delta method over the
// tasks' paired variances: the card's "average" row.
PairedComparison average_of(const std::vector<PairedComparison>& tasks, const std::vector<PairedScores>& scores);

}  // namespace assay
