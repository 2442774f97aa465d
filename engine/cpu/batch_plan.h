#pragma once

#include <cstdint>
#include <vector>

#include "engine/backend/batch.h"

namespace assay::cpu {

// Where a row's keys and values go.
struct KvWrite {
  int32_t row = 0;
  KvBlockId block = 0;
  int32_t slot = 0;
};

// Consecutive rows of one segment that attend in one piece of work.
struct AttentionRun {
  int32_t segment = 0;
  int32_t first_row = 0;  // of the batch
  int32_t num_tokens = 0;
  int32_t first_position = 0;
  int32_t out_row = 0;  // where the first row's result goes
};

// A Batch as the forward pass walks it: places by row, work cut into pieces.
struct BatchPlan {
  std::vector<int32_t> positions;         // [num_rows]
  std::vector<KvWrite> writes;            // by row; a row has one or more
  std::vector<int32_t> first_write;       // [num_rows + 1] of writes
  std::vector<KvBlockId> begun_blocks;    // blocks whose slot 0 is written, each once
  std::vector<AttentionRun> runs;         // all rows, longest work first; results lie as the batch's rows
  std::vector<int32_t> wanted_rows;       // rows of batch.logits
  std::vector<AttentionRun> wanted_runs;  // those rows only; results lie in the order of wanted_rows
};

// `tokens_per_run` bounds a run; `num_blocks` and `vocab_size` are what ids are checked against (ASSAY_CHECK).
BatchPlan plan_batch(const Batch& batch, int32_t tokens_per_run, int32_t num_blocks, int64_t vocab_size);

}  // namespace assay::cpu
