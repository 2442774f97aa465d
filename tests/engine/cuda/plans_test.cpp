// What the CUDA backend works out on the host: batches cut into work, memory from shapes, answers from readings. Needs
// no device and no CUDA compiler.

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "engine/cuda/batch_plan.h"
#include "engine/cuda/logit_results.h"
#include "engine/cuda/memory_plan.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::testing;

namespace {

AttentionCut cut_of(int32_t group, int32_t kv_heads, int32_t window = 0) {
  AttentionCut cut;
  cut.group = group;
  cut.num_kv_heads = kv_heads;
  cut.window = window;
  cut.max_slots = 100000;
  return cut;
}

// Every (row, split) that a plan computes, and how often.
std::map<std::pair<int32_t, int32_t>, int> covered(const AttentionPlan& plan) {
  std::map<std::pair<int32_t, int32_t>, int> seen;
  for (const auto* items : {&plan.narrow, &plan.wide, &plan.simple}) {
    for (const AttentionItem& item : *items) {
      for (int32_t t = 0; t < item.num_tokens; ++t) {
        for (int32_t split = item.first_split; split < item.end_split; ++split) ++seen[{item.out_row + t, split}];
      }
    }
  }
  return seen;
}

// Checks that each row's splits in sight are computed once and that partial sums meet in ascending order.
void check_plan(const std::vector<RowRun>& runs, const AttentionCut& cut) {
  const AttentionPlan plan = plan_attention(runs, cut);
  const auto seen = covered(plan);
  for (const RowRun& run : runs) {
    for (int32_t t = 0; t < run.num_tokens; ++t) {
      const int32_t position = run.first_position + t;
      const int32_t first = cut.window > 0 ? std::max(0, position - cut.window + 1) : 0;
      for (int32_t split = first / kSplitKeys; split <= position / kSplitKeys; ++split) {
        const auto found = seen.find({run.out_row + t, split});
        REQUIRE(found != seen.end());
        REQUIRE(found->second == 1);
      }
    }
  }
  std::map<int32_t, int32_t> slot_of_row;  // a partial row's slots
  std::set<int32_t> slots;
  for (const CombineItem& item : plan.combines) {
    REQUIRE(slot_of_row.emplace(item.out_row, item.first_slot).second);
    for (int32_t s = 0; s < item.num_splits; ++s) REQUIRE(slots.insert(item.first_slot + s).second);
  }
  REQUIRE(static_cast<int32_t>(slots.size()) == plan.num_slots);
  REQUIRE(plan.num_slots <= cut.max_slots);
  std::map<int32_t, int32_t> lowest_split;
  for (const auto* items : {&plan.narrow, &plan.wide}) {
    for (const AttentionItem& item : *items) {
      REQUIRE(item.num_tokens * cut.group <=
              rows_of(items == &plan.narrow ? AttentionShape::narrow : AttentionShape::wide));
      if (item.first_slot < 0) {
        REQUIRE(slot_of_row.count(item.out_row) == 0);
        continue;
      }
      for (int32_t t = 0; t < item.num_tokens; ++t) {
        const int32_t row = item.out_row + t;
        const int32_t base = item.first_slot + t * item.slot_step - item.first_split;
        const auto [found, fresh] = lowest_split.emplace(row, base);
        REQUIRE((fresh || found->second == base));  // slot minus split is one number per row: splits lie in order
      }
    }
  }
}

Batch batch_of(const std::vector<std::pair<int32_t, int32_t>>& segments) {  // first position, tokens
  Batch batch;
  for (const auto& [first, count] : segments) {
    BatchSegment segment;
    segment.first_row = batch.num_rows();
    segment.first_position = first;
    segment.num_tokens = count;
    for (int32_t b = 0; b * kKvBlockTokens < first + count; ++b)
      segment.block_table.push_back(static_cast<KvBlockId>(100 * batch.segments.size()) + b);
    for (int32_t i = 0; i < count; ++i) batch.tokens.push_back(i % 7);
    batch.segments.push_back(segment);
  }
  return batch;
}

ModelConfig mistral_24b() {
  ModelConfig config;
  config.hidden_size = 5120;
  config.intermediate_size = 32768;
  config.num_layers = 40;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.vocab_size = 131072;
  config.max_position_embeddings = 131072;
  return config;
}

MemoryWish wish_of(int64_t free_gib, int64_t weights_gib) {
  MemoryWish wish;
  wish.free_bytes = free_gib << 30;
  wish.weight_bytes = weights_gib << 30;
  wish.max_batch_tokens = 2048;
  wish.max_model_len = 32768;
  return wish;
}

}  // namespace

TEST_CASE("attention pieces cover each row's keys once, whatever the batch") {
  std::mt19937 random(7);
  const auto draw = [&](int32_t low, int32_t high) {
    return std::uniform_int_distribution<int32_t>(low, high)(random);
  };
  for (int round = 0; round < 60; ++round) {
    std::vector<RowRun> runs;
    int32_t row = 0;
    for (int32_t i = draw(1, 30); i > 0; --i) {
      const int32_t count = draw(0, 2) ? draw(1, 5) : draw(1, 300);
      runs.push_back({row, count, draw(0, 3) ? draw(0, 3000) : 0, row, 0});
      row += count;
    }
    const int32_t group = std::vector<int32_t>{1, 3, 4, 7, 16, 33, 64}[static_cast<size_t>(draw(0, 6))];
    check_plan(runs, cut_of(group, draw(1, 8), draw(0, 1) ? draw(1, 1500) : 0));
  }
}

TEST_CASE("decoding a few long sequences splits their keys; a full batch of prompts does not") {
  const AttentionPlan few = plan_attention({{0, 1, 4000, 0, 0}}, cut_of(4, 8));
  CHECK(few.narrow.size() == 16);
  CHECK(few.combines.size() == 1);
  std::vector<RowRun> prompts;
  for (int32_t i = 0; i < 8; ++i) prompts.push_back({i * 1024, 1024, 0, i * 1024, 0});
  const AttentionPlan many = plan_attention(prompts, cut_of(4, 8));
  CHECK(many.wide.size() == 8 * 64);
  CHECK(many.combines.empty());
  CHECK(many.wide[0].end_split == 4);  // longest first
}

TEST_CASE("without room for partial sums a row takes all its keys in one piece") {
  AttentionCut cut = cut_of(4, 8);
  cut.max_slots = 20;
  const AttentionPlan plan = plan_attention({{0, 1, 4000, 0, 0}, {1, 1, 4000, 1, 0}}, cut);
  CHECK(plan.num_slots == 16);
  CHECK(plan.combines.size() == 1);
  check_plan({{0, 1, 4000, 0, 0}, {1, 1, 4000, 1, 0}}, cut);
}

TEST_CASE("the simple kernel takes one token a piece") {
  AttentionCut cut = cut_of(3, 2);
  cut.mma = false;
  const AttentionPlan plan = plan_attention({{0, 40, 20, 0, 0}}, cut);
  CHECK(plan.simple.size() == 40);
  CHECK(plan.narrow.empty());
  CHECK(plan.wide.empty());
}

TEST_CASE("a batch's positions, writes and tables are where the device looks for them") {
  Batch batch = batch_of({{0, 20}, {30, 5}});
  batch.extra_writes = {{3, 77, 9}, {3, 78, 0}, {21, 79, 15}};
  batch.copies = {{1, 2, 5}, {2, 3, 16}};
  batch.logits = {{4, {1, 2}, 3, false}, {5, {}, 40, false}, {22, {6}, 0, true}};
  const BatchPlan plan = plan_batch(batch, cut_of(4, 2), 300, 50, 32);
  CHECK(plan.positions[19] == 19);
  CHECK(plan.positions[20] == 30);
  CHECK(plan.copies == std::vector<int32_t>{1, 2, 5, 2, 3, 16});
  const auto slots = [&](int32_t row) {
    return std::vector<int32_t>(plan.write_slots.begin() + plan.first_write[static_cast<size_t>(row)],
                                plan.write_slots.begin() + plan.first_write[static_cast<size_t>(row) + 1]);
  };
  CHECK(slots(0) == std::vector<int32_t>{0});
  CHECK(slots(3) == std::vector<int32_t>{3, 77 * 16 + 9, 78 * 16});
  CHECK(slots(17) == std::vector<int32_t>{1 * 16 + 1});
  CHECK(slots(21) == std::vector<int32_t>{101 * 16 + 15, 79 * 16 + 15});
  CHECK(slots(24) == std::vector<int32_t>{102 * 16 + 2});
  CHECK(plan.block_tables == std::vector<int32_t>{0, 1, 100, 101, 102});
  CHECK(plan.wanted_rows == std::vector<int32_t>{4, 5, 22});
  CHECK(plan.first_target == std::vector<int32_t>{0, 2, 2, 3});
  CHECK(plan.num_top == std::vector<int32_t>{3, 0, 0});  // 40 are more than the device finds: the row is kept
  CHECK(plan.kept_row == std::vector<int32_t>{-1, 0, 1});
  CHECK(plan.max_top == 3);
  REQUIRE(plan.wanted.narrow.size() == 2);  // rows 4 and 5 in one piece, row 22 in another
  CHECK(plan.wanted.narrow[0].num_tokens == 2);
  CHECK(plan.wanted.narrow[0].first_position == 4);
  CHECK(plan.wanted.narrow[1].out_row == 2);
  CHECK(plan.wanted.narrow[1].first_position == 32);
  CHECK(plan.wanted.narrow[1].table_offset == 2);
}

TEST_CASE("generated rows and those of them whose logits are wanted are counted") {
  Batch batch = batch_of({{9, 1}, {30, 4}, {0, 20}});
  batch.segments[0].generated = batch.segments[1].generated = true;
  batch.logits = {{0, {}, 0, false}, {4, {}, 0, false}, {5, {}, 0, false}};
  const BatchPlan plan = plan_batch(batch, cut_of(4, 2), 300, 50, 32);
  CHECK(plan.num_generated == 5);
  CHECK(plan.num_wanted_generated == 2);
  CHECK(plan_batch(batch_of({{0, 20}}), cut_of(4, 2), 300, 50, 32).num_generated == 0);
}

TEST_CASE("the upload holds every piece at its aligned place") {
  Batch batch = batch_of({{0, 20}, {300, 70}});
  batch.logits = {{4, {1, 2}, 3, false}};
  const BatchPlan plan = plan_batch(batch, cut_of(4, 2), 300, 50, 32);
  const UploadLayout at = lay_out(plan);
  std::vector<std::byte> bytes(static_cast<size_t>(at.bytes));
  write_upload(plan, at, bytes.data());
  for (const int64_t offset : {at.positions, at.write_slots, at.block_tables, at.all.wide, at.wanted.narrow}) {
    CHECK(offset % 16 == 0);
  }
  const auto same = [&](int64_t offset, const auto& values) {
    return std::memcmp(bytes.data() + offset, values.data(), values.size() * sizeof(values[0])) == 0;
  };
  CHECK(same(at.tokens, batch.tokens));
  CHECK(same(at.positions, plan.positions));
  CHECK(same(at.block_tables, plan.block_tables));
  CHECK(same(at.all.wide, plan.all.wide));
  CHECK(same(at.wanted.narrow, plan.wanted.narrow));
  CHECK(same(at.targets, plan.targets));
}

TEST_CASE("only steps of one generated token a sequence are of a class, and steps of like size share it") {
  const auto decoding = [](int32_t count, int32_t context) {
    std::vector<std::pair<int32_t, int32_t>> segments(static_cast<size_t>(count), {context, 1});
    Batch batch = batch_of(segments);
    for (BatchSegment& segment : batch.segments) segment.generated = true;
    for (int32_t row = 0; row < count; ++row) batch.logits.push_back({row, {}, 0, false});
    return batch;
  };
  const auto class_of = [](const Batch& batch) {
    return decode_class(batch, plan_batch(batch, cut_of(4, 8), 100000, 50, 32));
  };
  const Batch five = decoding(5, 900);
  REQUIRE(class_of(five));
  CHECK(class_of(five)->rows == 8);
  CHECK(*class_of(five) == *class_of(decoding(7, 910)));
  CHECK(*class_of(five) != *class_of(decoding(9, 900)));
  CHECK_FALSE(class_of(decoding(257, 20)));
  CHECK_FALSE(decode_class(five, plan_batch(five, cut_of(32, 8), 100000, 50, 32)));  // heads that need a wide tile
  Batch other = five;
  other.segments[0].generated = false;
  other.segments[1].generated = false;
  for (BatchSegment& segment : other.segments) segment.generated = false;
  CHECK_FALSE(class_of(other));
  other = five;
  other.copies.push_back({1, 2, 3});
  CHECK_FALSE(class_of(other));
  other = five;
  other.logits.pop_back();
  CHECK_FALSE(class_of(other));
  other = five;
  other.logits[2].want_logits = true;
  CHECK_FALSE(class_of(other));
  other = five;
  other.logits[2].num_logprobs = 5;
  REQUIRE(class_of(other));
  CHECK(*class_of(other) != *class_of(five));
  other = five;
  other.logits[2].draw = TokenDraw{0.5f};
  REQUIRE(class_of(other));
  CHECK(*class_of(other) != *class_of(five));
}

TEST_CASE("fed rows name their request, and rows that are known or padding name none") {
  Batch batch = batch_of({{20, 1}, {30, 1}, {40, 1}});
  for (int32_t row = 0; row < 3; ++row) {
    batch.segments[static_cast<size_t>(row)].generated = true;
    batch.logits.push_back({row, {}, 0, false});
  }
  batch.feeds = {{0, 2}, {2, 0}};
  BatchPlan plan = plan_batch(batch, cut_of(4, 8), 100000, 50, 32);
  CHECK(plan.feeds == std::vector<int32_t>{2, -1, 0});
  pad_to_class(*decode_class(batch, plan), plan);
  CHECK(plan.feeds == std::vector<int32_t>{2, -1, 0, -1});
  const UploadLayout at = lay_out(plan);
  std::vector<std::byte> upload(static_cast<size_t>(at.bytes));
  write_upload(plan, at, upload.data());
  int32_t written[4];
  std::memcpy(written, upload.data() + at.feeds, sizeof written);
  CHECK(std::vector<int32_t>(written, written + 4) == plan.feeds);
}

TEST_CASE("what is drawn lies one a wanted row, also where a step is padded, and nowhere when nothing is") {
  Batch batch = batch_of({{20, 1}, {30, 1}, {40, 1}});
  for (int32_t row = 0; row < 3; ++row) {
    batch.segments[static_cast<size_t>(row)].generated = true;
    batch.logits.push_back({row, {}, 0, false});
  }
  CHECK(plan_batch(batch, cut_of(4, 8), 100000, 50, 32).draws.empty());
  batch.logits[1].draw = TokenDraw{0.5f, 0, 1, 0, 3, 4, 30};
  BatchPlan plan = plan_batch(batch, cut_of(4, 8), 100000, 50, 32);
  const auto which = decode_class(batch, plan);
  REQUIRE(which);
  CHECK(which->draws);
  pad_to_class(*which, plan);
  REQUIRE(plan.draws.size() == 4);
  for (const size_t row : {0, 2, 3}) CHECK(plan.draws[row].temperature == 0);
  const UploadLayout at = lay_out(plan);
  std::vector<std::byte> upload(static_cast<size_t>(at.bytes));
  write_upload(plan, at, upload.data());
  TokenDraw written;
  std::memcpy(&written, upload.data() + at.draws + sizeof(TokenDraw), sizeof written);
  CHECK(written.temperature == 0.5f);
  CHECK(written.seed == 3);
  CHECK(written.position == 30);
}

TEST_CASE("a padded step has its class's layout, its own rows unchanged, and others that do nothing") {
  Batch batch = batch_of({{900, 1}, {40, 1}, {0, 1}});
  for (int32_t row = 0; row < 3; ++row) {
    batch.segments[static_cast<size_t>(row)].generated = true;
    batch.logits.push_back({row, {}, 0, false});
  }
  const BatchPlan plan = plan_batch(batch, cut_of(4, 8), 100000, 50, 32);
  const auto which = decode_class(batch, plan);
  REQUIRE(which);
  BatchPlan padded = plan;
  pad_to_class(*which, padded);
  CHECK(padded.num_rows() == 4);
  CHECK(padded.wants_all());
  CHECK(std::equal(plan.tokens.begin(), plan.tokens.end(), padded.tokens.begin()));
  CHECK(padded.first_write == std::vector<int32_t>{0, 1, 2, 3, 3});
  CHECK(padded.all.narrow.size() == static_cast<size_t>(which->narrow));
  for (size_t i = plan.all.narrow.size(); i < padded.all.narrow.size(); ++i)
    CHECK(padded.all.narrow[i].num_tokens == 0);
  for (size_t i = plan.all.combines.size(); i < padded.all.combines.size(); ++i)
    CHECK(padded.all.combines[i].num_splits == 0);
  Batch longer = batch_of({{910, 1}, {3, 1}, {5, 1}, {6, 1}});
  for (int32_t row = 0; row < 4; ++row) {
    longer.segments[static_cast<size_t>(row)].generated = true;
    longer.logits.push_back({row, {}, 0, false});
  }
  BatchPlan other = plan_batch(longer, cut_of(4, 8), 100000, 50, 32);
  REQUIRE(*decode_class(longer, other) == *which);
  pad_to_class(*which, other);
  const UploadLayout a = lay_out(padded), b = lay_out(other);
  CHECK(a.block_tables == b.block_tables);  // the last
  CHECK(a.all.combines == b.all.combines);
  CHECK(a.kept_row == b.kept_row);
}

TEST_CASE("memory of the 24B shape is planned before anything is allocated") {
  const auto plan = plan_memory(mistral_24b(), wish_of(78, 15));
  REQUIRE(plan.ok());
  CHECK(plan->kv_block_bytes == int64_t{40} * 2 * 8 * 128 * 16 * 2);
  CHECK(plan->num_chunks == 16);
  CHECK(plan->kv_bytes > int64_t{45} << 30);
  CHECK(plan->kv_bytes + plan->work_bytes() + (int64_t{15} << 30) < int64_t{78} << 30);
  CHECK(plan->rope_positions == 32768);
}

TEST_CASE("what does not fit is said with figures") {
  const auto plan = plan_memory(mistral_24b(), wish_of(20, 45));
  REQUIRE_FALSE(plan.ok());
  CHECK(plan.status().code() == Code::out_of_memory);
  CHECK(plan.status().message().find("45.00 GiB") != std::string::npos);
  MemoryWish tiny = wish_of(78, 15);
  tiny.kv_bytes = 1000;
  const auto small = plan_memory(mistral_24b(), tiny);
  REQUIRE_FALSE(small.ok());
  CHECK(small.status().code() == Code::invalid_argument);
}

TEST_CASE("a row's answer is made from its chunks as from the whole row") {
  constexpr int64_t kVocab = 1000, kChunk = 384;
  std::vector<float> logits = random_normals(kVocab, 3, 4.0f);
  logits[700] = logits[50] = 20.0f;  // equal: the lower id is first
  LogitReadings readings;
  readings.vocab_size = kVocab;
  readings.vocab_chunk = kChunk;
  readings.num_chunks = 3;
  readings.max_top = 5;
  for (int32_t c = 0; c < 3; ++c) {
    const auto begin = logits.begin() + c * kChunk, end = logits.begin() + std::min<int64_t>(kVocab, (c + 1) * kChunk);
    const auto largest = std::max_element(begin, end);
    float sum = 0;
    for (auto it = begin; it != end; ++it) sum += std::exp(*it - *largest);
    readings.stats.push_back({*largest, sum, static_cast<int32_t>(largest - logits.begin()), 0});
    std::vector<TopEntry> entries;
    for (auto it = begin; it != end; ++it) entries.push_back({*it, static_cast<int32_t>(it - logits.begin())});
    std::stable_sort(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.logit > b.logit; });
    readings.top.insert(readings.top.end(), entries.begin(), entries.begin() + 5);
  }
  readings.target_logits = {-1, logits[3], logits[999]};
  const std::vector<double> wide(logits.begin(), logits.end());
  const auto want = reference_logprobs(wide);
  LogitResult result;
  REQUIRE(answer_request({0, {3, 999}, 4, false}, readings, 0, 1, result));
  CHECK(result.argmax == 50);
  CHECK(std::abs(static_cast<double>(result.argmax_logprob) - want[50]) < 1e-5);
  CHECK(std::abs(static_cast<double>(result.target_logprobs[0]) - want[3]) < 1e-5);
  CHECK(std::abs(static_cast<double>(result.target_logprobs[1]) - want[999]) < 1e-5);
  REQUIRE(result.top.size() == 4);
  CHECK(result.top[0].token == 50);
  CHECK(result.top[1].token == 700);
  CHECK(result.top[2].logprob >= result.top[3].logprob);

  LogitResult kept;  // more than the device finds: from the whole row
  kept.logits = logits;
  REQUIRE(answer_request({0, {}, 40, false}, readings, 0, 1, kept));
  CHECK(kept.top.size() == 40);
  CHECK(kept.top[1].token == 700);
  CHECK(kept.logits.empty());

  readings.stats[1].bad = 1;
  CHECK_FALSE(answer_request({0, {3, 999}, 4, false}, readings, 0, 1, result));
}
