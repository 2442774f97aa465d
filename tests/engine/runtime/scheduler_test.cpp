#include "engine/runtime/scheduler.h"

#include <doctest/doctest.h>

#include <numeric>

namespace assay {
namespace {

Tokens range(TokenId first, int32_t count) {
  Tokens tokens(static_cast<size_t>(count));
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

Tokens joined(Tokens head, const Tokens& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

// Scores the token after its last.
std::unique_ptr<Sequence> scoring(int64_t id, Tokens tokens) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->wanted.push_back({static_cast<int32_t>(tokens.size()) - 1, 1, static_cast<RequestId>(id), 0, 0});
  sequence->context = std::make_shared<const Tokens>(std::move(tokens));
  return sequence;
}

std::unique_ptr<Sequence> generating(int64_t id, Tokens prompt) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->context = std::make_shared<const Tokens>(std::move(prompt));
  sequence->generates = true;
  sequence->sampling = std::make_shared<const SamplingParams>();
  return sequence;
}

template <class... Sequences>
void add(Scheduler& scheduler, Sequences... sequences) {
  std::vector<std::unique_ptr<Sequence>> list;
  (list.push_back(std::move(sequences)), ...);
  scheduler.add(std::move(list));
}

SchedulerOptions options(int32_t budget, int32_t blocks, bool prefix_tree = true) {
  SchedulerOptions options;
  options.max_batch_tokens = budget;
  options.num_kv_blocks = blocks;
  options.prefix_tree = prefix_tree;
  return options;
}

// Completes a batch; every generation whose turn it was gets `token`.
void answer(Scheduler& scheduler, const ScheduledBatch& plan, TokenId token = 7) {
  scheduler.complete(plan);
  for (const LogitUse& use : plan.uses) {
    if (use.sequence->generates) scheduler.append_token(*use.sequence, token);
  }
}

TEST_CASE("an idle scheduler plans nothing") {
  Scheduler scheduler(options(8, 4));
  CHECK(scheduler.idle());
  CHECK(scheduler.next().batch.num_rows() == 0);
}

TEST_CASE("a long prompt is cut to the budget and its score asked for in the last piece") {
  Scheduler scheduler(options(16, 4));
  add(scheduler, scoring(0, range(0, 40)));
  for (const int32_t rows : {16, 16, 8}) {
    const ScheduledBatch plan = scheduler.next();
    CHECK(plan.batch.num_rows() == rows);
    CHECK(plan.batch.logits.size() == (rows == 8 ? 1 : 0));
    scheduler.complete(plan);
  }
  CHECK(scheduler.idle());
  CHECK(scheduler.take_finished().size() == 1);
  CHECK(scheduler.num_tokens_scheduled() == 40);
}

TEST_CASE("batches fill the budget across sequences") {
  Scheduler scheduler(options(32, 16));
  for (int64_t id = 0; id < 4; ++id) add(scheduler, scoring(id, range(static_cast<TokenId>(100 * id), 20)));
  const ScheduledBatch plan = scheduler.next();
  CHECK(plan.batch.num_rows() == 32);
  CHECK(plan.batch.segments.size() == 2);
  scheduler.complete(plan);
  CHECK(scheduler.next().batch.num_rows() == 32);
}

TEST_CASE("a neighbor in the same batch shares whole blocks and writes the rest of a shared block a second time") {
  Scheduler scheduler(options(100, 16));
  const Tokens shared = range(0, 20);
  add(scheduler, scoring(0, joined(shared, range(100, 5))), scoring(1, joined(shared, range(200, 3))));
  const ScheduledBatch plan = scheduler.next();
  const Batch& batch = plan.batch;
  REQUIRE(batch.segments.size() == 2);
  CHECK(batch.segments[0].num_tokens == 25);
  CHECK(batch.segments[1].first_position == 20);
  CHECK(batch.segments[1].num_tokens == 3);
  CHECK(batch.segments[1].block_table[0] == batch.segments[0].block_table[0]);
  CHECK(batch.segments[1].block_table[1] != batch.segments[0].block_table[1]);
  CHECK(batch.copies.empty());
  REQUIRE(batch.extra_writes.size() == 4);
  for (int32_t i = 0; i < 4; ++i) {
    CHECK(batch.extra_writes[static_cast<size_t>(i)].row == 16 + i);
    CHECK(batch.extra_writes[static_cast<size_t>(i)].slot == i);
    CHECK(batch.extra_writes[static_cast<size_t>(i)].block == batch.segments[1].block_table[1]);
  }
}

TEST_CASE("a later batch copies the shared slots of a block") {
  Scheduler scheduler(options(100, 16));
  const Tokens shared = range(0, 20);
  add(scheduler, scoring(0, joined(shared, range(100, 5))));
  const ScheduledBatch first = scheduler.next();
  scheduler.complete(first);
  add(scheduler, scoring(1, joined(shared, range(200, 3))));
  const ScheduledBatch second = scheduler.next();
  REQUIRE(second.batch.copies.size() == 1);
  CHECK(second.batch.copies[0].from == first.batch.segments[0].block_table[1]);
  CHECK(second.batch.copies[0].to == second.batch.segments[0].block_table[1]);
  CHECK(second.batch.copies[0].num_tokens == 4);
  CHECK(second.batch.extra_writes.empty());
  CHECK(second.batch.num_rows() == 3);
}

TEST_CASE("a block filled in part before and in part by this batch is copied and written again") {
  Scheduler scheduler(options(18, 16));
  add(scheduler, scoring(0, range(0, 24)), scoring(1, joined(range(0, 22), {500})));
  scheduler.complete(scheduler.next());
  const ScheduledBatch plan = scheduler.next();
  REQUIRE(plan.batch.copies.size() == 1);
  CHECK(plan.batch.copies[0].num_tokens == 2);
  CHECK(plan.batch.extra_writes.size() == 4);
  CHECK(plan.batch.num_rows() == 7);
}

TEST_CASE("the row of the first wanted score is computed though its KV is known") {
  Scheduler scheduler(options(100, 16));
  add(scheduler, scoring(0, range(0, 24)), scoring(1, range(0, 24)));
  const ScheduledBatch plan = scheduler.next();
  REQUIRE(plan.batch.segments.size() == 2);
  CHECK(plan.batch.segments[1].first_position == 23);
  CHECK(plan.batch.logits.size() == 2);
}

TEST_CASE("without a prefix tree every token is computed") {
  Scheduler scheduler(options(100, 16, false));
  add(scheduler, scoring(0, range(0, 24)), scoring(1, range(0, 24)));
  CHECK(scheduler.next().batch.num_rows() == 48);
}

TEST_CASE("decoding sequences go first, one token each, before prompts fill the batch") {
  Scheduler scheduler(options(20, 16));
  add(scheduler, generating(0, range(0, 6)), generating(1, range(50, 6)));
  answer(scheduler, scheduler.next());
  add(scheduler, scoring(2, range(100, 40)));
  const ScheduledBatch plan = scheduler.next();
  REQUIRE(plan.batch.segments.size() == 3);
  CHECK(plan.batch.segments[0].num_tokens == 1);
  CHECK(plan.batch.segments[0].first_position == 6);
  CHECK(plan.batch.segments[1].num_tokens == 1);
  CHECK(plan.batch.segments[2].num_tokens == 18);
}

TEST_CASE("samples of one prompt share its blocks") {
  Scheduler scheduler(options(100, 16));
  const Tokens prompt = range(0, 33);
  add(scheduler, generating(0, prompt), generating(1, prompt), generating(2, prompt));
  const ScheduledBatch plan = scheduler.next();
  CHECK(plan.batch.num_rows() == 33 + 1 + 1);
  CHECK(plan.uses.size() == 3);
  CHECK(plan.batch.segments[2].block_table[1] == plan.batch.segments[0].block_table[1]);
}

TEST_CASE("no more generations run at once than allowed") {
  SchedulerOptions few = options(100, 16);
  few.max_sequences = 2;
  Scheduler scheduler(few);
  add(scheduler, generating(0, range(0, 4)), generating(1, range(10, 4)), generating(2, range(20, 4)));
  const ScheduledBatch first = scheduler.next();
  CHECK(first.sequences.size() == 2);
  scheduler.complete(first);
  scheduler.finish(*first.sequences[0]);
  scheduler.append_token(*first.sequences[1], 7);
  CHECK(scheduler.next().sequences.size() == 2);
}

TEST_CASE("when blocks run out the youngest generation gives its own back and starts again later") {
  Scheduler scheduler(options(100, 5));
  add(scheduler, generating(0, range(0, 30)), generating(1, range(100, 30)));
  ScheduledBatch plan = scheduler.next();
  CHECK(plan.sequences.size() == 2);
  while (scheduler.num_preemptions() == 0) {
    answer(scheduler, plan);
    plan = scheduler.next();
    REQUIRE(plan.batch.num_rows() > 0);
  }
  CHECK(plan.sequences.size() == 1);
  CHECK(plan.sequences[0]->id == 0);
  answer(scheduler, plan);
  scheduler.finish(*plan.sequences[0]);
  const ScheduledBatch resumed = scheduler.next();
  REQUIRE(resumed.sequences.size() == 1);
  CHECK(resumed.sequences[0]->id == 1);
  CHECK(resumed.sequences[0]->num_tokens() > 30);
  CHECK(resumed.uses.empty());
  scheduler.complete(resumed);
  CHECK(scheduler.next().uses.size() == 1);
}

TEST_CASE("generated tokens go first, apart from given ones, and only given ones are shared") {
  Scheduler scheduler(options(100, 5));
  add(scheduler, generating(0, range(0, 30)), generating(1, range(100, 20)));
  ScheduledBatch plan = scheduler.next();
  for (const BatchSegment& segment : plan.batch.segments) CHECK_FALSE(segment.generated);
  answer(scheduler, plan);
  plan = scheduler.next();
  REQUIRE(plan.batch.segments.size() == 2);
  CHECK(plan.batch.segments[0].generated);
  CHECK(plan.batch.segments[1].generated);
  while (scheduler.num_preemptions() == 0) {
    answer(scheduler, plan);
    plan = scheduler.next();
    REQUIRE(plan.batch.num_rows() > 0);
  }
  answer(scheduler, plan);
  scheduler.finish(*plan.sequences[0]);
  // Asks for what the preempted one generated, as given tokens.
  add(scheduler, scoring(2, joined(range(100, 20), Tokens(6, 7))));
  const ScheduledBatch prompt = scheduler.next();
  REQUIRE(prompt.sequences.size() == 2);
  CHECK(prompt.sequences[0]->id == 1);
  CHECK(prompt.batch.segments[0].first_position + prompt.batch.segments[0].num_tokens == 20);
  CHECK_FALSE(prompt.batch.segments[0].generated);
  CHECK(prompt.batch.segments[1].first_position == 20);
  CHECK(prompt.batch.segments[1].num_tokens == 6);
  answer(scheduler, prompt);
  const ScheduledBatch again = scheduler.next();
  REQUIRE(again.batch.segments.size() == 1);
  CHECK(again.batch.segments[0].first_position == 20);
  CHECK(again.batch.segments[0].num_tokens > 1);
  CHECK(again.batch.segments[0].generated);
  CHECK(again.uses.size() == 1);
}

TEST_CASE("what cannot fit even alone is handed back, and the rest goes on") {
  Scheduler scheduler(options(100, 2));
  add(scheduler, scoring(0, range(0, 33)), scoring(1, range(0, 32)));
  const ScheduledBatch plan = scheduler.next();
  CHECK(plan.sequences.size() == 1);
  CHECK(plan.sequences[0]->id == 1);
  const auto rejected = scheduler.take_rejected();
  REQUIRE(rejected.size() == 1);
  CHECK(rejected[0]->id == 0);
}

TEST_CASE("alone in a cache just large enough, a sequence gives up the block it would branch from") {
  Scheduler scheduler(options(100, 2));
  add(scheduler, scoring(0, range(0, 20)));
  scheduler.complete(scheduler.next());
  add(scheduler, scoring(1, joined(range(0, 18), range(500, 14))));
  const ScheduledBatch plan = scheduler.next();
  CHECK(plan.batch.num_rows() == 32);
  CHECK(plan.batch.copies.empty());
}

TEST_CASE("a generation that outgrows the whole cache is handed back") {
  Scheduler scheduler(options(100, 2));
  add(scheduler, generating(0, range(0, 31)));
  answer(scheduler, scheduler.next());
  answer(scheduler, scheduler.next());
  CHECK(scheduler.next().batch.num_rows() == 0);
  CHECK(scheduler.take_rejected().size() == 1);
  CHECK(scheduler.idle());
}

TEST_CASE("an abandoned batch is planned again from the start, in smaller pieces") {
  Scheduler scheduler(options(64, 16));
  add(scheduler, scoring(0, range(0, 40)), scoring(1, joined(range(0, 20), range(300, 20))));
  const ScheduledBatch failed = scheduler.next();
  CHECK(failed.batch.num_rows() == 60);
  scheduler.abandon(failed);
  CHECK(scheduler.num_tokens_scheduled() == 0);
  REQUIRE(scheduler.shrink_budget());
  int32_t rows = 0;
  while (!scheduler.idle()) {
    const ScheduledBatch plan = scheduler.next();
    CHECK(plan.batch.num_rows() <= 32);
    rows += plan.batch.num_rows();
    scheduler.complete(plan);
  }
  CHECK(rows == 60);
}

TEST_CASE("the budget shrinks to one block and no further") {
  Scheduler scheduler(options(40, 16));
  CHECK(scheduler.shrink_budget());
  CHECK(scheduler.shrink_budget());
  CHECK_FALSE(scheduler.shrink_budget());
  add(scheduler, scoring(0, range(0, 40)));
  CHECK(scheduler.next().batch.num_rows() == kKvBlockTokens);
}

TEST_CASE("after cancelling everything the cache is whole again") {
  Scheduler scheduler(options(100, 4));
  add(scheduler, generating(0, range(0, 30)), scoring(1, range(100, 20)));
  scheduler.next();
  scheduler.cancel_all();
  CHECK(scheduler.idle());
  add(scheduler, scoring(2, range(0, 64)));
  CHECK(scheduler.next().batch.num_rows() == 64);
}

}  // namespace
}  // namespace assay
