#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/runtime/kv_blocks.h"
#include "engine/runtime/prefix_tree.h"
#include "engine/runtime/sequence.h"

namespace assay {

struct SchedulerOptions {
  int32_t max_batch_tokens = 512;
  int32_t max_sequences = 256;   // in flight at once
  int32_t num_kv_blocks = 0;
  bool prefix_tree = true;
};

// What one row of a planned batch's logits is for.
struct LogitUse {
  Sequence* sequence = nullptr;
  int32_t first_wanted = 0, num_wanted = 0;  // scores: range of sequence->wanted; generation: num_wanted == 0
};

struct ScheduledBatch {
  Batch batch;
  std::vector<LogitUse> uses;           // one a LogitRequest
  std::vector<Sequence*> sequences;     // every sequence with rows in this batch
};

// Picks the next batch: decoding sequences first (one token each), then waiting ones in order, chunked to the token budget.
// Finished loglikelihood sequences leave their KV in the prefix tree. When blocks run out, tree leaves are evicted; if that
// is not enough the youngest decoding sequence is preempted: its blocks go back and its tokens so far become its prompt.
// A sequence that cannot fit the cache even alone is handed back in `rejected`. Bookkeeping only; not thread-safe.
// Based on: Yu et al. Orca. 2022 (iteration-level batching); Agrawal et al. Sarathi-Serve. 2024 (chunked prefill).
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  void add(std::vector<std::unique_ptr<Sequence>> sequences);
  bool idle() const;
  // The next batch; empty (no rows) only when idle or when all that was left got rejected.
  ScheduledBatch next();
  // After the batch ran: KV of its rows is valid, sequences advance. Scoring sequences with nothing left are finished.
  void complete(const ScheduledBatch& batch);
  // The caller sampled a token for a decoding sequence: appends it.
  void append_token(Sequence& sequence, TokenId token);
  // The caller ended a generation: frees its blocks (the prompt's stay in the tree).
  void finish(Sequence& sequence);
  std::vector<std::unique_ptr<Sequence>> take_finished();
  std::vector<std::unique_ptr<Sequence>> take_rejected();
  void cancel_all();
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_tokens_scheduled() const { return num_tokens_scheduled_; }
  // Halves the token budget, down to one block, after the backend ran out of memory; false when it cannot shrink more.
  bool shrink_budget();

 private:
  SchedulerOptions options_;
  KvBlocks blocks_;
  PrefixTree tree_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;
  std::vector<std::unique_ptr<Sequence>> finished_;
  std::vector<std::unique_ptr<Sequence>> rejected_;
  int64_t num_preemptions_ = 0;
  int64_t num_tokens_scheduled_ = 0;
};

}  // namespace assay
