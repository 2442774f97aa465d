#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/cuda/logit_parts.h"

namespace assay::cuda {

// What the device has read off the logits of a batch's wanted rows.
struct LogitReadings {
  int64_t vocab_size = 0;
  int64_t vocab_chunk = 0;  // tokens of a chunk; the last may have fewer
  int32_t num_chunks = 0;
  int32_t max_top = 0;
  std::vector<ChunkStats> stats;     // [rows, num_chunks]
  std::vector<float> target_logits;  // of all requests, one behind the other
  std::vector<TopEntry> top;         // [rows, num_chunks, max_top]
  std::vector<DrawnToken> drawn;     // [rows], or empty
};

// Largest logit and the logarithm of the sum of exponentials of a row, from its chunks in order.
struct RowStats {
  float max = 0;
  TokenId argmax = 0;
  double log_sum = 0;
  bool finite = true;
};
RowStats row_stats(const ChunkStats* chunks, int32_t num_chunks);

// The answer to batch.logits[row]; first_target is where its target logits begin. A row that was kept has its logits in
// result.logits already, and they stay there only if asked for. False when a logit is not finite.
bool answer_request(const LogitRequest& request, const LogitReadings& readings, size_t row, size_t first_target,
                    LogitResult& result);

}  // namespace assay::cuda
