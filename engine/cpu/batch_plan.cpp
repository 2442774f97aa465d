#include "engine/cpu/batch_plan.h"

#include <algorithm>

#include "engine/backend/batch_checks.h"
#include "engine/base/check.h"

namespace assay::cpu {
namespace {

void place_segment(const BatchSegment& segment, int32_t num_blocks, BatchPlan& plan) {
  ASSAY_CHECK_LE(1, segment.num_tokens);
  ASSAY_CHECK_LE(0, segment.first_position);
  ASSAY_CHECK_EQ(segment.first_row, static_cast<int32_t>(plan.positions.size()));
  const int32_t end = segment.first_position + segment.num_tokens;
  ASSAY_CHECK_LE((end + kKvBlockTokens - 1) / kKvBlockTokens, static_cast<int32_t>(segment.block_table.size()));
  for (const KvBlockId id : segment.block_table) check_block(id, num_blocks);
  for (int32_t position = segment.first_position; position < end; ++position) {
    const auto row = static_cast<int32_t>(plan.positions.size());
    plan.positions.push_back(position);
    plan.writes.push_back(
        {row, segment.block_table[static_cast<size_t>(position / kKvBlockTokens)], position % kKvBlockTokens});
  }
}

void place_extra_writes(const Batch& batch, int32_t num_blocks, BatchPlan& plan) {
  for (const KvExtraWrite& write : batch.extra_writes) {
    check_block(write.block, num_blocks);
    ASSAY_CHECK(write.row >= 0 && write.row < batch.num_rows());
    ASSAY_CHECK(write.slot >= 0 && write.slot < kKvBlockTokens);
    plan.writes.push_back({write.row, write.block, write.slot});
  }
  std::stable_sort(plan.writes.begin(), plan.writes.end(),
                   [](const KvWrite& a, const KvWrite& b) { return a.row < b.row; });
  plan.first_write.assign(static_cast<size_t>(batch.num_rows()) + 1, 0);
  for (const KvWrite& write : plan.writes) {
    ++plan.first_write[static_cast<size_t>(write.row) + 1];
    if (write.slot == 0) plan.begun_blocks.push_back(write.block);
  }
  for (size_t row = 1; row < plan.first_write.size(); ++row) plan.first_write[row] += plan.first_write[row - 1];
  std::sort(plan.begun_blocks.begin(), plan.begun_blocks.end());
  plan.begun_blocks.erase(std::unique(plan.begun_blocks.begin(), plan.begun_blocks.end()), plan.begun_blocks.end());
}

// Cuts rows [begin, end) of a segment into runs.
void add_runs(const Batch& batch, int32_t segment, int32_t begin, int32_t end, int32_t out_row, int32_t tokens_per_run,
              std::vector<AttentionRun>& runs) {
  const BatchSegment& whole = batch.segments[static_cast<size_t>(segment)];
  for (int32_t row = begin; row < end; row += tokens_per_run) {
    runs.push_back({segment, row, std::min(tokens_per_run, end - row), whole.first_position + row - whole.first_row,
                    out_row + row - begin});
  }
}

void plan_wanted(const Batch& batch, int32_t tokens_per_run, BatchPlan& plan) {
  for (const LogitRequest& request : batch.logits) plan.wanted_rows.push_back(request.row);
  size_t next = 0;
  for (int32_t s = 0; s < static_cast<int32_t>(batch.segments.size()); ++s) {
    const BatchSegment& segment = batch.segments[static_cast<size_t>(s)];
    const int32_t segment_end = segment.first_row + segment.num_tokens;
    while (next < plan.wanted_rows.size() && plan.wanted_rows[next] < segment_end) {
      const size_t first = next;
      const int32_t begin = plan.wanted_rows[first];
      int32_t end = begin;
      for (; next < plan.wanted_rows.size() && plan.wanted_rows[next] == end && end < segment_end; ++next) ++end;
      add_runs(batch, s, begin, end, static_cast<int32_t>(first), tokens_per_run, plan.wanted_runs);
    }
  }
}

// Work that takes longest starts first, so that threads end together.
void sort_by_work(std::vector<AttentionRun>& runs) {
  const auto work = [](const AttentionRun& run) {
    return int64_t{run.num_tokens} * (run.first_position + run.num_tokens);
  };
  std::stable_sort(runs.begin(), runs.end(),
                   [&](const AttentionRun& a, const AttentionRun& b) { return work(a) > work(b); });
}

}  // namespace

BatchPlan plan_batch(const Batch& batch, int32_t tokens_per_run, int32_t num_blocks, int64_t vocab_size) {
  check_tokens(batch, vocab_size);
  BatchPlan plan;
  for (const BatchSegment& segment : batch.segments) place_segment(segment, num_blocks, plan);
  ASSAY_CHECK_EQ(static_cast<int32_t>(plan.positions.size()), batch.num_rows());
  place_extra_writes(batch, num_blocks, plan);
  for (const KvCopy& copy : batch.copies) {
    check_block(copy.from, num_blocks);
    check_block(copy.to, num_blocks);
    ASSAY_CHECK(copy.num_tokens >= 0 && copy.num_tokens <= kKvBlockTokens);
  }
  for (int32_t s = 0; s < static_cast<int32_t>(batch.segments.size()); ++s) {
    const BatchSegment& segment = batch.segments[static_cast<size_t>(s)];
    add_runs(batch, s, segment.first_row, segment.first_row + segment.num_tokens, segment.first_row, tokens_per_run,
             plan.runs);
  }
  plan_wanted(batch, tokens_per_run, plan);
  sort_by_work(plan.runs);
  sort_by_work(plan.wanted_runs);
  return plan;
}

}  // namespace assay::cpu
