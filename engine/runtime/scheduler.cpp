#include "engine/runtime/scheduler.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/runtime/token_sampler.h"

namespace assay {
namespace {

template <class Sequences>
void insert_by_id(Sequences& sequences, std::unique_ptr<Sequence> sequence) {
  const auto place =
      std::upper_bound(sequences.begin(), sequences.end(), sequence->id,
                       [](int64_t id, const std::unique_ptr<Sequence>& other) { return id < other->id; });
  sequences.insert(place, std::move(sequence));
}

template <class Sequences>
std::unique_ptr<Sequence> take_out(Sequences& sequences, const Sequence& sequence) {
  const auto place = std::find_if(sequences.begin(), sequences.end(),
                                  [&](const std::unique_ptr<Sequence>& other) { return other.get() == &sequence; });
  ASSAY_CHECK(place != sequences.end());
  std::unique_ptr<Sequence> taken = std::move(*place);
  sequences.erase(place);
  return taken;
}

bool has_rows(const ScheduledBatch& plan, const Sequence& sequence) {
  return std::find(plan.sequences.begin(), plan.sequences.end(), &sequence) != plan.sequences.end();
}

// The row of the first wanted score must be computed, as must the last row of a prompt: KV before it may be shared.
int32_t most_to_share(const Sequence& sequence) {
  if (sequence.generates) return sequence.num_prompt() - 1;
  const int32_t all_but_last = sequence.num_tokens() - 1;
  const auto next = static_cast<size_t>(sequence.num_scored);
  return next < sequence.wanted.size() ? std::min(all_but_last, sequence.wanted[next].position) : all_but_last;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), blocks_(options.num_kv_blocks), tree_(blocks_) {
  ASSAY_CHECK_LT(0, options.max_batch_tokens);
  ASSAY_CHECK_LT(0, options.max_sequences);
}

void Scheduler::add(std::vector<std::unique_ptr<Sequence>> sequences) {
  for (auto& sequence : sequences) {
    ASSAY_CHECK_LT(0, sequence->num_tokens());
    ASSAY_CHECK(waiting_.empty() || waiting_.back()->id < sequence->id);
    waiting_.push_back(std::move(sequence));
  }
}

bool Scheduler::idle() const { return waiting_.empty() && running_.empty(); }

ScheduledBatch Scheduler::next() {
  for (;;) {
    ScheduledBatch plan;
    admitted_.clear();
    slot_rows_.clear();
    preempted_ = false;
    plan_running(plan, true);
    plan_running(plan, false);
    if (!preempted_) plan_waiting(plan);
    num_tokens_scheduled_ += plan.batch.num_rows();
    if (plan.batch.num_rows() > 0 || idle() || awaits_tokens()) return plan;
    // Without rows the oldest has taken all others' blocks and the tree's, and still lacks one.
    if (!running_.empty()) reject(take_running(*running_.front()));
  }
}

// Someone goes on or ends with what the batch in flight says: until then it is not known whether room is missing.
bool Scheduler::awaits_tokens() const {
  if (!waiting_.empty() && waiting_.front()->awaited_request >= 0) return true;
  return std::any_of(running_.begin(), running_.end(), [](const std::unique_ptr<Sequence>& sequence) {
    return sequence->awaited_request >= 0 || sequence->num_computed == sequence->num_tokens();
  });
}

void Scheduler::plan_running(ScheduledBatch& plan, bool generated) {
  // Planning one sequence may send younger ones back: the index stays valid, an iterator would not.
  for (size_t i = 0; i < running_.size() && budget_left(plan) > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (sequence.num_computed == sequence.num_tokens()) continue;
    if (sequence.next_is_generated() == generated) plan_rows(plan, sequence);
  }
}

void Scheduler::plan_waiting(ScheduledBatch& plan) {
  while (!waiting_.empty() && budget_left(plan) > 0 && admit(plan)) {
  }
}

// Starts the first waiting sequence, or rejects it; false when it has to wait.
bool Scheduler::admit(ScheduledBatch& plan) {
  const Sequence& first = *waiting_.front();
  if (kv_blocks_for(first.num_tokens()) > blocks_.num_blocks()) {
    if (first.awaited_request >= 0) return false;  // it may end without that token
    reject(std::move(waiting_.front()));
    waiting_.pop_front();
    return true;
  }
  if (first.generates && num_generating_ >= options_.max_sequences) return false;
  PrefixTree::Match match = take_prefix(first);
  if (!make_room(first, match)) {
    for (const KvBlockId block : match.blocks) blocks_.release(block);
    if (!running_.empty()) return false;
    tree_.clear();  // alone it fits once the block it would branch from is let go
    match = {};
  }
  std::unique_ptr<Sequence> owned = std::move(waiting_.front());
  waiting_.pop_front();
  Sequence& sequence = *owned;
  begin(std::move(owned), match, plan.batch);
  plan_rows(plan, sequence);
  return true;
}

void Scheduler::reject(std::unique_ptr<Sequence> sequence) {
  sequence->state = SequenceState::finished;
  rejected_.push_back(std::move(sequence));
}

// The known prefix, a reference taken on each of its blocks.
PrefixTree::Match Scheduler::take_prefix(const Sequence& sequence) {
  if (!options_.prefix_tree) return {};
  collect_tokens(sequence);
  PrefixTree::Match match = tree_.match(tokens_, most_to_share(sequence));
  for (const KvBlockId block : match.blocks) blocks_.add_reference(block);
  return match;
}

// Room for the whole sequence, and for each decoding neighbor to grow by a block: who enters is not soon sent back.
bool Scheduler::make_room(const Sequence& sequence, const PrefixTree::Match& match) {
  const int32_t shared = match.num_tokens / kKvBlockTokens;
  return tree_.evict(kv_blocks_for(sequence.num_tokens()) - shared + num_generating_);
}

void Scheduler::begin(std::unique_ptr<Sequence> sequence, const PrefixTree::Match& match, Batch& batch) {
  sequence->state = SequenceState::prefilling;
  sequence->num_computed = match.num_tokens;
  sequence->block_table = match.blocks;
  const int32_t num_slots = match.num_tokens % kKvBlockTokens;
  if (num_slots > 0) {
    const KvBlockId from = match.blocks.back();
    sequence->block_table.back() = branch(from, num_slots, batch);
    blocks_.release(from);
  }
  num_generating_ += sequence->generates ? 1 : 0;
  admitted_.push_back(sequence.get());
  insert_by_id(running_, std::move(sequence));
}

// A new block whose first slots hold what those of `from` hold: copied where an earlier batch filled them, written a
// second time where this batch does.
KvBlockId Scheduler::branch(KvBlockId from, int32_t num_slots, Batch& batch) {
  const KvBlockId to = blocks_.allocate();
  ASSAY_CHECK_LE(0, to);
  const auto known = slot_rows_.find(from);
  const bool in_this_batch = known != slot_rows_.end();
  SlotRows rows;
  rows.fill(-1);
  int32_t num_copied = in_this_batch ? 0 : num_slots;
  if (in_this_batch) {
    std::copy_n(known->second.begin(), num_slots, rows.begin());
    while (num_copied < num_slots && rows[static_cast<size_t>(num_copied)] < 0) ++num_copied;
  }
  if (num_copied > 0) batch.copies.push_back({from, to, num_copied});
  for (int32_t slot = num_copied; slot < num_slots; ++slot) {
    batch.extra_writes.push_back({rows[static_cast<size_t>(slot)], to, slot});
  }
  slot_rows_[to] = rows;
  return to;
}

void Scheduler::plan_rows(ScheduledBatch& plan, Sequence& sequence) {
  ASSAY_CHECK_LT(sequence.num_computed, sequence.num_tokens());
  const bool still_prompt = sequence.num_computed < sequence.num_prompt();
  const int32_t last = sequence.generates && still_prompt ? sequence.num_prompt() : sequence.num_tokens();
  const int32_t wanted_end = std::min(last, sequence.num_computed + budget_left(plan));
  const int32_t end = reserve(plan, sequence, wanted_end);
  if (end > sequence.num_computed) add_segment(plan, sequence, end);
}

// Grows the block table to cover positions [0, end), or as far as blocks can be had; returns how far.
int32_t Scheduler::reserve(const ScheduledBatch& plan, Sequence& sequence, int32_t end) {
  while (static_cast<int32_t>(sequence.block_table.size()) < kv_blocks_for(end)) {
    const KvBlockId block = find_block(plan, sequence);
    if (block < 0) break;
    sequence.block_table.push_back(block);
  }
  return std::min(end, static_cast<int32_t>(sequence.block_table.size()) * kKvBlockTokens);
}

KvBlockId Scheduler::find_block(const ScheduledBatch& plan, const Sequence& sequence) {
  for (;;) {
    tree_.evict(1);
    const KvBlockId block = blocks_.allocate();
    if (block >= 0) return block;
    if (!preempt_younger(plan, sequence)) break;
  }
  // Leaves in use may hide blocks above them that no one uses.
  if (running_.size() == 1) tree_.clear();
  return blocks_.allocate();
}

// Sequences enter and are planned oldest first, so whoever is younger than the one being planned has no rows yet.
bool Scheduler::preempt_younger(const ScheduledBatch& plan, const Sequence& sequence) {
  const Sequence& youngest = *running_.back();
  if (youngest.id == sequence.id) return false;
  ASSAY_CHECK(!has_rows(plan, youngest));
  send_back(youngest);
  ++num_preemptions_;
  preempted_ = true;
  return true;
}

void Scheduler::add_segment(ScheduledBatch& plan, Sequence& sequence, int32_t end) {
  BatchSegment segment;
  segment.first_row = plan.batch.num_rows();
  segment.num_tokens = end - sequence.num_computed;
  segment.first_position = sequence.num_computed;
  segment.generated = sequence.next_is_generated();
  const auto table = sequence.block_table.begin();
  segment.block_table.assign(table, table + kv_blocks_for(end));
  for (int32_t i = sequence.num_computed; i < end; ++i) plan.batch.tokens.push_back(sequence.token(i));
  if (sequence.awaited_request >= 0 && end == sequence.num_tokens())
    plan.batch.feeds.push_back({plan.batch.num_rows() - 1, sequence.awaited_request});
  add_logit_requests(plan, sequence, segment.first_row, end);
  if (options_.prefix_tree && !segment.generated) share(sequence, segment);
  plan.batch.segments.push_back(std::move(segment));
  plan.sequences.push_back(&sequence);
}

void Scheduler::add_logit_requests(ScheduledBatch& plan, Sequence& sequence, int32_t first_row, int32_t end) {
  const int32_t row_of_position_zero = first_row - sequence.num_computed;
  const auto num_wanted = static_cast<int32_t>(sequence.wanted.size());
  for (int32_t i = sequence.num_scored; i < num_wanted;) {
    const int32_t position = sequence.wanted[static_cast<size_t>(i)].position;
    if (position >= end) break;
    LogitRequest request;
    request.row = row_of_position_zero + position;
    LogitUse use{&sequence, i, 0};
    for (; i < num_wanted && sequence.wanted[static_cast<size_t>(i)].position == position; ++i, ++use.num_wanted) {
      const WantedScore& wanted = sequence.wanted[static_cast<size_t>(i)];
      request.targets.push_back(wanted.token);
      request.num_logprobs = std::max(request.num_logprobs, wanted.num_logprobs);
    }
    plan.batch.logits.push_back(std::move(request));
    plan.uses.push_back(use);
  }
  if (!sequence.generates || end < sequence.num_tokens()) return;
  LogitRequest request;
  request.row = row_of_position_zero + end - 1;
  const auto num_generated = static_cast<int32_t>(sequence.tail.size());
  if (options_.backend_draws) request.draw = token_draw(*sequence.sampling, sequence.sample_index, num_generated, end);
  request.want_logits = !request.draw && needs_logits(*sequence.sampling, num_generated);
  request.num_logprobs = request.want_logits ? 0 : sequence.sampling->num_logprobs;
  plan.batch.logits.push_back(std::move(request));
  plan.uses.push_back({&sequence, 0, 0});
}

// Lets the sequences planned after this one find what its segment computes.
void Scheduler::share(const Sequence& sequence, const BatchSegment& segment) {
  const int32_t end = segment.first_position + segment.num_tokens;
  collect_tokens(sequence);
  tree_.insert(tokens_, end, sequence.block_table);
  SlotRows none;
  none.fill(-1);
  for (int32_t position = segment.first_position; position < end; ++position) {
    const KvBlockId block = segment.block_table[static_cast<size_t>(position / kKvBlockTokens)];
    SlotRows& rows = slot_rows_.try_emplace(block, none).first->second;
    rows[static_cast<size_t>(position % kKvBlockTokens)] = segment.first_row + position - segment.first_position;
  }
}

void Scheduler::complete(const ScheduledBatch& batch) {
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    Sequence& sequence = *batch.sequences[i];
    sequence.num_computed += batch.batch.segments[i].num_tokens;
    const auto num_wanted = static_cast<int32_t>(sequence.wanted.size());
    while (sequence.num_scored < num_wanted &&
           sequence.wanted[static_cast<size_t>(sequence.num_scored)].position < sequence.num_computed) {
      ++sequence.num_scored;
    }
    if (sequence.num_computed < sequence.num_tokens()) continue;
    sequence.state = sequence.generates ? SequenceState::decoding : SequenceState::finished;
  }
  const auto done = std::stable_partition(running_.begin(), running_.end(), [](const std::unique_ptr<Sequence>& s) {
    return s->state != SequenceState::finished;
  });
  for (auto it = done; it != running_.end(); ++it) {
    release_blocks(**it);
    finished_.push_back(std::move(*it));
  }
  running_.erase(done, running_.end());
}

void Scheduler::abandon(const ScheduledBatch& batch) {
  for (const Sequence* sequence : admitted_) send_back(*sequence);
  admitted_.clear();
  slot_rows_.clear();
  tree_.clear();  // it may name KV that was never computed
  num_tokens_scheduled_ -= batch.batch.num_rows();
}

void Scheduler::append_token(Sequence& sequence, TokenId token) {
  if (std::exchange(sequence.awaited_request, -1) >= 0) {
    sequence.tail.back() = token;
    return;
  }
  // Who was sent back while its token was on the way computes it again with all others.
  ASSAY_CHECK(sequence.state == SequenceState::waiting || sequence.num_computed == sequence.num_tokens());
  sequence.tail.push_back(token);
}

void Scheduler::await_token(Sequence& sequence, int32_t request) {
  ASSAY_CHECK(sequence.state == SequenceState::decoding);
  ASSAY_CHECK_EQ(sequence.num_computed, sequence.num_tokens());
  ASSAY_CHECK_LT(sequence.awaited_request, 0);
  sequence.tail.push_back(0);
  sequence.awaited_request = request;
}

void Scheduler::finish(Sequence& sequence) {
  finished_.push_back(sequence.state == SequenceState::waiting ? take_out(waiting_, sequence) : take_running(sequence));
  sequence.state = SequenceState::finished;
}

std::vector<std::unique_ptr<Sequence>> Scheduler::take_finished() { return std::exchange(finished_, {}); }

std::vector<std::unique_ptr<Sequence>> Scheduler::take_rejected() { return std::exchange(rejected_, {}); }

void Scheduler::cancel_all() {
  for (const auto& sequence : running_) release_blocks(*sequence);
  running_.clear();
  waiting_.clear();
  finished_.clear();
  rejected_.clear();
  admitted_.clear();
  slot_rows_.clear();
  num_generating_ = 0;
  tree_.clear();
}

bool Scheduler::shrink_budget() {
  if (options_.max_batch_tokens <= kKvBlockTokens) return false;
  options_.max_batch_tokens = std::max(kKvBlockTokens, options_.max_batch_tokens / 2);
  return true;
}

// Out of running_, its blocks given back.
std::unique_ptr<Sequence> Scheduler::take_running(const Sequence& sequence) {
  std::unique_ptr<Sequence> taken = take_out(running_, sequence);
  release_blocks(*taken);
  num_generating_ -= taken->generates ? 1 : 0;
  return taken;
}

void Scheduler::send_back(const Sequence& sequence) {
  std::unique_ptr<Sequence> taken = take_running(sequence);
  taken->state = SequenceState::waiting;
  taken->num_computed = 0;
  insert_by_id(waiting_, std::move(taken));
}

void Scheduler::release_blocks(Sequence& sequence) {
  for (const KvBlockId block : sequence.block_table) blocks_.release(block);
  sequence.block_table.clear();
}

void Scheduler::collect_tokens(const Sequence& sequence) {
  tokens_.assign(sequence.context->begin(), sequence.context->end());
  tokens_.insert(tokens_.end(), sequence.tail.begin(), sequence.tail.end());
}

}  // namespace assay
