#include "engine/cuda/launch_plan.h"

#include <doctest/doctest.h>

#include <string>

#include "engine/cuda/repack.h"

namespace assay::cuda {
namespace {

W4Shape shape_of(int64_t n, int64_t k, int64_t group = 128, bool zeros = false) {
  return w4_shape(n, k, group, zeros).value();
}

}  // namespace

TEST_CASE("workers share all blocks, each block once and in order, for shapes large and tiny") {
  for (const auto& [n, k] :
       {std::pair{6144, 5120}, {5120, 4096}, {65536, 5120}, {5120, 32768}, {576, 576}, {40, 64}, {16384, 256}}) {
    const W4Workers workers = workers_of(shape_of(n, k));
    CAPTURE(n);
    CAPTURE(k);
    CHECK(workers.begin(0) == 0);
    const int num_blocks = static_cast<int>(workers.num_grains * workers.grain),
              count = static_cast<int>(workers.count);
    CHECK(num_blocks == shape_of(n, k).num_blocks());
    CHECK(workers.begin(count) == num_blocks);
    for (int block = 0; block < num_blocks; ++block) {
      const int worker = workers.of(block);
      REQUIRE(worker < count);
      REQUIRE(workers.begin(worker) <= block);
      REQUIRE(block < workers.begin(worker + 1));
    }
  }
}

TEST_CASE("rows that share out evenly are never cut") {
  const W4Shape gate_up = shape_of(65536, 5120), down = shape_of(5120, 32768);
  CHECK(workers_of(gate_up).grain == gate_up.num_k_blocks);
  CHECK(workers_of(down).grain == 1);
}

TEST_CASE("every plan has a kernel and fits shared memory, for all shapes, group sizes and numbers of tokens") {
  for (const auto& [n, k] :
       {std::pair{6144, 5120}, {5120, 4096}, {65536, 5120}, {5120, 32768}, {576, 576}, {49152, 64}})
    for (const int64_t group : {32, 64, 128, k})
      for (const bool zeros : {false, true})
        for (const int64_t m : {1, 7, 16, 33, 64, 65, 128, 300, 1024, 2048, 8192})
          for (const bool invariant : {false, true}) {
            const W4Shape shape = shape_of(n, k, group, zeros);
            const LaunchPlan plan = plan_w4a16(m, shape, {132, invariant, false});
            CAPTURE(plan.text());
            CAPTURE(m);
            REQUIRE(plan_is_supported(plan, shape));
            REQUIRE(plan.stages >= 2);
            REQUIRE(plan_shared_bytes(plan, shape) <= kMaxSharedBytes);
            REQUIRE(plan.batch_invariant == invariant);
          }
}

TEST_CASE(
    "a device with fewer multiprocessors than workers gets the reduction that cannot wait for what never starts") {
  const W4Shape shape = shape_of(5120, 4096);
  CHECK(plan_w4a16(128, shape, {132, true, false}).spread_reduction);
  CHECK_FALSE(plan_w4a16(128, shape, {114, true, false}).spread_reduction);
}

TEST_CASE("few rows of many columns are streamed, many rows are computed as whole tiles") {
  const W4Shape gate_up = shape_of(65536, 5120), down = shape_of(5120, 32768);
  for (const int64_t m : {1, 8, 16, 64}) CHECK(plan_w4a16(m, down, {}).schedule == LaunchPlan::Schedule::stream);
  for (const int64_t m : {1, 64, 2048, 8192}) CHECK(plan_w4a16(m, gate_up, {}).schedule == LaunchPlan::Schedule::tiles);
}

TEST_CASE("where no row is cut, few tokens are multiplied by whole rows of blocks a thread block") {
  const W4Shape gate_up = shape_of(65536, 5120), down = shape_of(5120, 32768);
  for (const int64_t m : {1, 8, 16, 32, 64, 96, 128}) CHECK(plan_w4a16(m, gate_up, {}).warpgroups == 4);
  CHECK(plan_w4a16(256, gate_up, {}).warpgroups == 2);
  for (const int64_t m : {1, 64, 256}) CHECK(plan_w4a16(m, down, {}).warpgroups == 2);
}

TEST_CASE("a plan prints what it does") {
  LaunchPlan plan;
  plan.stages = 8;
  CHECK(plan.text() == "wgmma stream 8 tokens, 2 x 64 rows, 8 stages of 128");
  plan.kernel = LaunchPlan::Kernel::mma;
  CHECK(plan.text() == "mma stream 8 tokens, 8 stages of 128");
}

TEST_CASE("plans that no kernel was compiled for are known") {
  LaunchPlan plan;
  plan.tile_tokens = 24;
  CHECK_FALSE(plan_is_supported(plan, shape_of(256, 256)));
  plan.tile_tokens = 64;
  plan.stages = 10;
  CHECK_FALSE(plan_is_supported(plan, shape_of(256, 256)));
  plan.stages = 4, plan.warpgroups = 4;
  CHECK_FALSE(plan_is_supported(plan, shape_of(256, 256)));
  plan.schedule = LaunchPlan::Schedule::tiles;
  CHECK(plan_is_supported(plan, shape_of(256, 256)));
}

}  // namespace assay::cuda
