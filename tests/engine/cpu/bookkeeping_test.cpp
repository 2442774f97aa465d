// The parts of the CPU backend that move no numbers: plans, blocks, teams, answers.

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <fstream>

#include "engine/cpu/batch_plan.h"
#include "engine/cpu/file_pages.h"
#include "engine/cpu/kv_cache.h"
#include "engine/cpu/logits.h"
#include "engine/cpu/team.h"
#include "tests/support/near.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_checkpoint.h"

using namespace assay;
using namespace assay::cpu;

TEST_CASE("a plan places every row and adds what is written twice") {
  Batch batch;
  batch.tokens = {5, 6, 7, 8};
  batch.segments.push_back({0, 3, 15, {4, 9}});
  batch.segments.push_back({3, 1, 16, {4, 2}});
  batch.extra_writes.push_back({1, 7, 0});
  batch.logits.resize(2);
  batch.logits[0].row = 2;
  batch.logits[1].row = 3;
  const BatchPlan plan = plan_batch(batch, 32, 10, 100);
  CHECK(plan.positions == std::vector<int32_t>{15, 16, 17, 16});
  REQUIRE(plan.writes.size() == 5);
  CHECK(plan.first_write == std::vector<int32_t>{0, 1, 3, 4, 5});
  CHECK(plan.writes[1].block == 9);
  CHECK(plan.writes[1].slot == 0);
  CHECK(plan.writes[2].block == 7);
  CHECK(plan.begun_blocks == std::vector<KvBlockId>{2, 7, 9});
  REQUIRE(plan.wanted_runs.size() == 2);
  CHECK(plan.wanted_runs[0].num_tokens == 1);
  CHECK(plan.wanted_runs[0].out_row + plan.wanted_runs[1].out_row == 1);
}

TEST_CASE("runs cover each row once, longest work first, none over the bound or across segments") {
  Batch batch;
  for (int32_t s = 0; s < 5; ++s) {
    const int32_t count = 1 + s * 37;
    BatchSegment segment{batch.num_rows(), count, s, std::vector<KvBlockId>(20, 0)};
    for (int32_t i = 0; i < count; ++i) {
      if (i % 3 != 1) batch.logits.push_back({batch.num_rows(), {}, 0, false});
      batch.tokens.push_back(1);
    }
    batch.segments.push_back(segment);
  }
  const BatchPlan plan = plan_batch(batch, 32, 1, 2);
  for (const auto* runs : {&plan.runs, &plan.wanted_runs}) {
    std::vector<int> seen(static_cast<size_t>(batch.num_rows()));
    int64_t work = std::numeric_limits<int64_t>::max();
    for (const AttentionRun& run : *runs) {
      CHECK(run.num_tokens <= 32);
      const BatchSegment& segment = batch.segments[static_cast<size_t>(run.segment)];
      CHECK(run.first_row >= segment.first_row);
      CHECK(run.first_row + run.num_tokens <= segment.first_row + segment.num_tokens);
      CHECK(run.first_position == segment.first_position + run.first_row - segment.first_row);
      for (int32_t i = 0; i < run.num_tokens; ++i) {
        ++seen[static_cast<size_t>(run.first_row + i)];
        if (runs == &plan.wanted_runs)
          CHECK(plan.wanted_rows[static_cast<size_t>(run.out_row + i)] == run.first_row + i);
      }
      const int64_t now = int64_t{run.num_tokens} * (run.first_position + run.num_tokens);
      CHECK(now <= work);
      work = now;
    }
    int total = 0;
    for (const int count : seen) {
      CHECK(count <= 1);
      total += count;
    }
    CHECK(total == (runs == &plan.runs ? batch.num_rows() : static_cast<int>(batch.logits.size())));
  }
}

TEST_CASE("a KV copy takes the first slots and leaves zero values behind them") {
  for (const int element_bytes : {2, 4}) {
    const KvCache::Shape shape{.num_layers = 1, .num_kv_heads = 2, .head_dim = 16, .element_bytes = element_bytes};
    const KvCache cache = KvCache::allocate(shape, 3 * shape.block_bytes()).value();
    CHECK(cache.num_blocks() == 3);
    for (int copied = 0; copied <= kKvBlockTokens; ++copied) {
      std::memset(cache.block(0, 0), 0x11, static_cast<size_t>(shape.layer_bytes()));
      std::memset(cache.block(0, 2), 0xff, static_cast<size_t>(shape.layer_bytes()));
      cache.copy(0, {0, 2, copied});
      for (int64_t head = 0; head < 2; ++head) {
        const std::byte* values = cache.block(0, 2) + head * shape.head_bytes() + shape.head_bytes() / 2;
        const int pack = 4 / element_bytes;
        for (int slot = 0; slot < kKvBlockTokens; ++slot) {
          for (int64_t d = 0; d < 16; ++d) {
            const int64_t at = (slot / pack * 16 * pack + d * pack + slot % pack) * element_bytes;
            CHECK(values[at] == (slot < copied ? std::byte{0x11} : std::byte{0}));
          }
        }
        CHECK(cache.block(0, 2)[head * shape.head_bytes()] == std::byte{0x11});
      }
    }
  }
}

TEST_CASE("a KV budget below one block is refused, saying what a block takes") {
  const KvCache::Shape shape{.num_layers = 2, .num_kv_heads = 2, .head_dim = 16, .element_bytes = 2};
  const auto cache = KvCache::allocate(shape, shape.block_bytes() - 1);
  REQUIRE_FALSE(cache.ok());
  CHECK(cache.status().code() == Code::invalid_argument);
  CHECK(cache.status().message().find(std::to_string(shape.block_bytes())) != std::string::npos);
}

TEST_CASE("a team does every piece of every stage once, and no stage begins before the last is done") {
  for (const int threads : {1, 2, 5}) {
    Team team(threads);
    std::vector<std::atomic<int>> done(1000);
    std::atomic<bool> early{false};
    const Status status = team.run([&](Worker& worker) {
      for (int stage = 0; stage < 50; ++stage) {
        worker.for_each(1000, 7, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            if (done[static_cast<size_t>(999 - i)].load() < stage) early = true;
            ++done[static_cast<size_t>(i)];
          }
        });
      }
    });
    CHECK(status.ok());
    CHECK_FALSE(early);
    for (const auto& count : done) CHECK(count == 50);
  }
}

TEST_CASE("a worker's failure is the run's, and the next run starts clean") {
  Team team(2);
  const Status failed = team.run([](Worker& worker) {
    if (worker.index() == worker.count() - 1) worker.fail("the product is missing");
    worker.barrier();
  });
  CHECK(failed.code() == Code::internal);
  CHECK(failed.message().find("the product is missing") != std::string::npos);
  CHECK(team.run([](Worker& worker) { worker.barrier(); }).ok());
}

TEST_CASE("top_logprobs come in falling order, ties by id, and never more than there are") {
  const std::vector<float> logits = {1, 5, 3, 5, -2, 3, 5};
  const auto top = top_logprobs(logits.data(), 7, 5, 2.0);
  REQUIRE(top.size() == 5);
  const TokenId ids[] = {1, 3, 6, 2, 5};
  for (size_t i = 0; i < 5; ++i) CHECK(top[i].token == ids[i]);
  CHECK(top[0].logprob == 3.0f);
  CHECK(top_logprobs(logits.data(), 7, 0, 2.0).empty());
  CHECK(top_logprobs(logits.data(), 7, 100, 2.0).size() == 7);
}

TEST_CASE("only pages of read-only file mappings are released") {
  assay::testing::TempFolder folder;
  const Path path = folder.path() / "pages";
  std::ofstream(path) << std::string(1 << 16, 'x');
  const MappedFile file = MappedFile::open(path).value();
  std::vector<std::byte> heap(1 << 16, std::byte{7});
  const FilePages pages;
  pages.release(heap);
  for (const std::byte byte : heap) REQUIRE(byte == std::byte{7});
  for (size_t i = 0; i < file.size(); i += 4096) REQUIRE(file.bytes()[i] == std::byte{'x'});
  pages.release(file.bytes());
  unsigned char resident[16] = {};
  REQUIRE(file.bytes()[5000] == std::byte{'x'});  // comes back from the file
  CHECK(mincore(const_cast<std::byte*>(file.bytes().data()), file.size(), resident) == 0);
}
