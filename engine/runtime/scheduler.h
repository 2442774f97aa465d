#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "engine/backend/batch.h"
#include "engine/runtime/kv_blocks.h"
#include "engine/runtime/prefix_tree.h"
#include "engine/runtime/sequence.h"

namespace assay {

struct SchedulerOptions {
  int32_t max_batch_tokens = 512;
  int32_t max_sequences = 256;  // generations in flight at once; scoring is bounded by the token budget alone
  int32_t num_kv_blocks = 0;
  bool prefix_tree = true;
  bool backend_draws = false;  // the backend draws tokens itself where it can
};

// What one row of a planned batch's logits is for.
struct LogitUse {
  Sequence* sequence = nullptr;
  int32_t first_wanted = 0, num_wanted = 0;  // scores: range of sequence->wanted; generation: num_wanted == 0
};

struct ScheduledBatch {
  Batch batch;
  std::vector<LogitUse> uses;        // one a LogitRequest
  std::vector<Sequence*> sequences;  // one a segment: whose rows it holds
};

// Picks the next batch: generated tokens first (one of each decoding sequence; all that a preempted one has to compute
// again), then sequences in mid-prompt, then waiting ones in order, chunked to the token budget. No segment holds both
// given and generated tokens, and only given ones are shared: a backend may compute the two differently. What a batch
// computes is known to the prefix tree as soon as it is planned, so
// neighbors in one batch share it: whole blocks by reference; a block they share in part by a copy of the slots
// computed earlier and by extra writes of the rows computed now. Finished loglikelihood sequences leave their KV in the
// prefix tree.
//
// When blocks run out, tree leaves are evicted; if that is not enough the youngest sequence is preempted: its blocks go
// back and its tokens so far become its prompt. The oldest sequence can always take what all others hold, so every
// batch moves someone forward. A sequence that cannot fit the cache even alone is handed back in `rejected`.
// A batch may be planned before the tokens of the one before it are known: see await_token().
// Bookkeeping only; not thread-safe. Every batch of next() is answered by complete() or abandon() before the next.
// Based on: Yu et al. Orca. 2022 (iteration-level batching); Agrawal et al. Sarathi-Serve. 2024 (chunked prefill).
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Sequences wait in the order given, behind those already waiting.
  void add(std::vector<std::unique_ptr<Sequence>> sequences);
  bool idle() const;
  // The next batch; empty (no rows) only when idle, when all that was left got rejected, or when all of it waits for
  // append_token().
  ScheduledBatch next();
  // After the batch ran: KV of its rows is valid, sequences advance. Scoring sequences with nothing left are finished;
  // they stay alive until take_finished().
  void complete(const ScheduledBatch& batch);
  // The batch did not run: everything is as before it was planned, save that the prefix tree has forgotten what it
  // knew.
  void abandon(const ScheduledBatch& batch);
  // The caller sampled a token for a decoding sequence: appends it, or says what an awaited one is.
  void append_token(Sequence& sequence, TokenId token);
  // Request `request` of the batch in flight decides the next token of a decoding sequence: the next batch feeds it
  // from there. One token a sequence at most may be awaited.
  void await_token(Sequence& sequence, int32_t request);
  // The caller ended a generation, wherever it is: frees its blocks (the prompt's stay in the tree).
  void finish(Sequence& sequence);
  std::vector<std::unique_ptr<Sequence>> take_finished();
  std::vector<std::unique_ptr<Sequence>> take_rejected();
  void cancel_all();
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_tokens_scheduled() const { return num_tokens_scheduled_; }  // rows of all batches that were not abandoned
  // Halves the token budget, down to one block, after the backend ran out of memory; false when it cannot shrink more.
  bool shrink_budget();

 private:
  // Rows of the batch being planned that fill a block's slots; -1 where a slot was filled before.
  using SlotRows = std::array<int32_t, kKvBlockTokens>;

  void plan_running(ScheduledBatch& plan, bool generated);
  void plan_waiting(ScheduledBatch& plan);
  bool admit(ScheduledBatch& plan);
  void reject(std::unique_ptr<Sequence> sequence);
  PrefixTree::Match take_prefix(const Sequence& sequence);
  bool make_room(const Sequence& sequence, const PrefixTree::Match& match);
  void begin(std::unique_ptr<Sequence> sequence, const PrefixTree::Match& match, Batch& batch);
  KvBlockId branch(KvBlockId from, int32_t num_slots, Batch& batch);
  void plan_rows(ScheduledBatch& plan, Sequence& sequence);
  int32_t reserve(const ScheduledBatch& plan, Sequence& sequence, int32_t end);
  KvBlockId find_block(const ScheduledBatch& plan, const Sequence& sequence);
  bool awaits_tokens() const;
  bool preempt_younger(const ScheduledBatch& plan, const Sequence& sequence);
  void add_segment(ScheduledBatch& plan, Sequence& sequence, int32_t end);
  void add_logit_requests(ScheduledBatch& plan, Sequence& sequence, int32_t first_row, int32_t end);
  void share(const Sequence& sequence, const BatchSegment& segment);
  std::unique_ptr<Sequence> take_running(const Sequence& sequence);
  void send_back(const Sequence& sequence);
  void release_blocks(Sequence& sequence);
  void collect_tokens(const Sequence& sequence);
  int32_t budget_left(const ScheduledBatch& plan) const { return options_.max_batch_tokens - plan.batch.num_rows(); }

  SchedulerOptions options_;
  KvBlocks blocks_;
  PrefixTree tree_;
  std::deque<std::unique_ptr<Sequence>> waiting_;   // ascending ids
  std::vector<std::unique_ptr<Sequence>> running_;  // ascending ids: oldest first
  std::vector<std::unique_ptr<Sequence>> finished_;
  std::vector<std::unique_ptr<Sequence>> rejected_;
  int32_t num_generating_ = 0;       // of running_
  std::vector<Sequence*> admitted_;  // by the batch being planned
  bool preempted_ = false;           // by the batch being planned
  std::unordered_map<KvBlockId, SlotRows> slot_rows_;
  Tokens tokens_;  // scratch: one sequence's tokens in one piece
  int64_t num_preemptions_ = 0;
  int64_t num_tokens_scheduled_ = 0;
};

}  // namespace assay
