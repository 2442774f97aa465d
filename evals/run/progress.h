#pragma once

#include <cstdint>
#include <string>

#include "engine/base/clock.h"

namespace assay {

// What a progress line shows.
struct ProgressState {
  std::string model, task;
  int64_t items_done = 0, items_total = 0;  // of the whole run
  int64_t task_done = 0, task_total = 0;
  bool has_score = true;
  double score = 0, half_width = 0;           // of the current task's primary metric
  int64_t tokens_done = 0, tokens_total = 0;  // computed, and expected for what is left
  double tokens_per_s = 0, eta_s = 0;
};

// One line on stderr, redrawn in place on a terminal; elsewhere a plain line at most every 30 s and at the end. Quiet
// mode prints nothing. Not thread-safe.
class Progress {
 public:
  Progress(Clock& clock, bool enabled, bool terminal);
  void update(const ProgressState& state);
  void finish();
  static std::string line(const ProgressState& state);  // the text, for tests

 private:
  Clock& clock_;
  bool enabled_, terminal_, open_ = false;
  int64_t last_us_ = 0;
};

}  // namespace assay
