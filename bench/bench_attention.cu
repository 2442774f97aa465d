// Attention over paged keys in the shape of Mistral-Small-3.1-24B (32 query heads, 8 KV heads of 128) and of SmolLM2 (9
// and 3 of 64): prompts from an empty cache, and one new token a sequence over long contexts.

#include <cmath>
#include <numeric>

#include "bench/kernel_bench.h"
#include "engine/cuda/kernels.h"

namespace assay {
namespace {

using namespace cuda;

struct Shape {
  int32_t heads, kv_heads, head_dim;
};
constexpr Shape kShapes[] = {{32, 8, 128}, {9, 3, 64}};

template <class T>
DeviceBuffer to_device(const std::vector<T>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  DeviceBuffer buffer = DeviceBuffer::allocate(bytes, "a plan").value();
  if (bytes > 0) cudaMemcpy(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice);
  return buffer;
}

// `batch` sequences with `context` tokens in the cache, of which the last `tokens` ask.
void attention(benchmark::State& state) {
  const Shape shape = kShapes[state.range(0)];
  const auto batch = static_cast<int32_t>(state.range(1)), context = static_cast<int32_t>(state.range(2));
  const auto tokens = static_cast<int32_t>(state.range(3));
  const int32_t blocks = (context + kKvBlockTokens - 1) / kKvBlockTokens, rows = batch * tokens;
  AttentionCut cut;
  cut.group = shape.heads / shape.kv_heads;
  cut.num_kv_heads = shape.kv_heads;
  cut.max_slots = 1 << 16;
  cut.wanted_pieces = 8 * 132;
  std::vector<RowRun> runs;
  for (int32_t s = 0; s < batch; ++s) runs.push_back({s * tokens, tokens, context - tokens, s * tokens, s * blocks});
  const AttentionPlan plan = plan_attention(runs, cut);
  std::vector<int32_t> table(static_cast<size_t>(batch * blocks));
  std::iota(table.begin(), table.end(), 0);

  const int64_t block_bytes = int64_t{2} * shape.kv_heads * kKvBlockTokens * shape.head_dim * 2;
  const ColdBuffers caches(batch * blocks * block_bytes);
  const int64_t width = int64_t{shape.heads} * shape.head_dim;
  const ColdBuffers query(rows * width * 2, 1), out(rows * width * 2, 1);
  const DeviceBuffer tables = to_device(table), wide = to_device(plan.wide), narrow = to_device(plan.narrow);
  const DeviceBuffer combines = to_device(plan.combines);
  const DeviceBuffer partials =
      DeviceBuffer::allocate(std::max<int64_t>(16, int64_t{plan.num_slots} * shape.heads * (shape.head_dim + 2) * 4),
                             "partials")
          .value();
  AttentionWork work;
  work.query = query[0];
  work.query_ld = work.out_ld = width;
  work.out = out[0];
  work.num_heads = shape.heads;
  work.scale = 1 / std::sqrt(static_cast<float>(shape.head_dim));
  work.block_tables = tables.as<int32_t>();
  work.partials = partials.as<float>();

  const double pairs = batch * (static_cast<double>(tokens) * (context - tokens) + tokens * (tokens + 1.0) / 2);
  const double flops = 4.0 * pairs * static_cast<double>(width);
  const double bytes = static_cast<double>(batch) * context * shape.kv_heads * shape.head_dim * 4;
  time_launches(state, caches.count(), bytes, flops, [&](size_t i, cudaStream_t stream) -> Status {
    work.cache = {caches[i], shape.kv_heads, shape.head_dim};
    work.shape = AttentionShape::wide;
    work.items = wide.as<AttentionItem>();
    work.num_items = static_cast<int32_t>(plan.wide.size());
    ASSAY_TRY(attend(Element::bf16, work, stream));
    work.shape = AttentionShape::narrow;
    work.items = narrow.as<AttentionItem>();
    work.num_items = static_cast<int32_t>(plan.narrow.size());
    ASSAY_TRY(attend(Element::bf16, work, stream));
    return combine_attention(Element::bf16, work.partials, combines.as<CombineItem>(),
                             static_cast<int64_t>(plan.combines.size()), shape.heads, shape.head_dim, work.out, width,
                             stream);
  });
  state.counters["pieces"] = static_cast<double>(plan.wide.size() + plan.narrow.size());
}

void all_shapes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"shape", "batch", "context", "tokens"})
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond)
      ->Iterations(30);
  for (const auto& [batch, length] : {std::pair{16, 512}, {8, 1024}, {4, 2048}, {2, 4096}, {1, 8192}})
    bench->Args({0, batch, length, length});
  for (const auto& [batch, context] : {std::pair{1, 1024}, {16, 1024}, {64, 1024}, {256, 1024}, {64, 4096}, {1, 16384}})
    bench->Args({0, batch, context, 1});
  bench->Args({0, 64, 1056, 32});  // short questions behind a long prefix
  bench->Args({1, 32, 512, 512});
  bench->Args({1, 64, 1024, 1});
}

BENCHMARK(attention)->Apply(all_shapes);

}  // namespace
}  // namespace assay

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  assay::add_device_context();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
