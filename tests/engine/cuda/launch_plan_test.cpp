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
  for (const int64_t blocks : {1, 2, 3, 5, 15, 131, 132, 133, 640, 960, 5120, 10240}) {
    CAPTURE(blocks);
    const int64_t workers = num_workers(blocks);
    CHECK(worker_begin(0, blocks) == 0);
    CHECK(worker_begin(workers, blocks) == blocks);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t worker = worker_of(block, blocks);
      REQUIRE(worker < workers);
      REQUIRE(worker_begin(worker, blocks) <= block);
      REQUIRE(block < worker_begin(worker + 1, blocks));
    }
  }
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
  CHECK(plan_w4a16(1, shape, {132, true, false}).spread_reduction);
  CHECK_FALSE(plan_w4a16(1, shape, {114, true, false}).spread_reduction);
}

TEST_CASE("few tokens stream the weights once, many compute whole tiles") {
  const W4Shape gate_up = shape_of(65536, 5120);
  for (const int64_t m : {1, 8, 16, 32}) CHECK(plan_w4a16(m, gate_up, {}).schedule == LaunchPlan::Schedule::stream);
  for (const int64_t m : {64, 2048, 8192}) CHECK(plan_w4a16(m, gate_up, {}).schedule == LaunchPlan::Schedule::tiles);
}

TEST_CASE("a plan prints what it does") {
  LaunchPlan plan;
  plan.stages = 8;
  CHECK(plan.text() == "wgmma stream 8 tokens, 4 x 64 rows, 8 stages of 128");
  plan.kernel = LaunchPlan::Kernel::mma;
  CHECK(plan.text() == "mma stream 8 tokens, 8 stages of 128");
}

TEST_CASE("plans that no kernel was compiled for are known") {
  LaunchPlan plan;
  plan.tile_tokens = 24;
  CHECK_FALSE(plan_is_supported(plan, shape_of(256, 256)));
  plan.tile_tokens = 64;
  plan.stages = 9;
  CHECK_FALSE(plan_is_supported(plan, shape_of(256, 256)));
}

}  // namespace assay::cuda
