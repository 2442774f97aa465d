// Row operations, dequantization and the products of the 24B shape (hidden 5120, 32 and 8 heads of 128, MLP 32768).
// Bytes are counted by hand: what has to be read and written once.

#include <memory>
#include <random>

#include "bench/kernel_bench.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/kernels.h"

namespace assay {
namespace {

using namespace cuda;

constexpr int64_t kHidden = 5120, kHeads = 32, kKvHeads = 8, kHeadDim = 128, kMlp = 32768;

DeviceBuffer ints(int64_t count, int64_t step, int64_t modulus) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<int32_t>(i * step % modulus);
  DeviceBuffer buffer = DeviceBuffer::allocate(count * 4, "numbers").value();
  cudaMemcpy(buffer.data(), values.data(), static_cast<size_t>(count) * 4, cudaMemcpyHostToDevice);
  return buffer;
}

void bench_rms_norm(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const ColdBuffers x(rows * kHidden * 4), weight(kHidden * 4, 1), out(rows * kHidden * 2);
  time_launches(state, x.count(), static_cast<double>(rows * kHidden * 6), 0, [&](size_t i, cudaStream_t stream) {
    return rms_norm(Element::bf16, static_cast<const float*>(x[i]), static_cast<const float*>(weight[0]), rows, kHidden,
                    1e-5f, out[i], stream);
  });
}

void bench_swiglu(benchmark::State& state) {
  const int64_t rows = state.range(0);
  const ColdBuffers in(rows * kMlp * 4), out(rows * kMlp * 2);
  time_launches(state, in.count(), static_cast<double>(rows * kMlp * 6), 0, [&](size_t i, cudaStream_t stream) {
    return swiglu(Element::bf16, in[i], rows, kMlp, out[i], kMlp, stream);
  });
}

void bench_rope_kv_write(benchmark::State& state) {
  const int64_t rows = state.range(0), width = (kHeads + 2 * kKvHeads) * kHeadDim;
  const ColdBuffers qkv(rows * width * 2), cache((rows + 16) * kKvHeads * 2 * kHeadDim * 2);
  const ColdBuffers angles(rows * kHeadDim * 2, 1);
  const DeviceBuffer positions = ints(rows, 1, rows), first = ints(rows + 1, 1, rows + 1), slots = ints(rows, 1, rows);
  const double bytes = static_cast<double>(rows) * (width * 2 + (kHeads + 2 * kKvHeads) * kHeadDim * 2 + kHeadDim * 4);
  time_launches(state, qkv.count(), bytes, 0, [&](size_t i, cudaStream_t stream) {
    RopeKvWrite work;
    work.qkv = qkv[i];
    work.ld = width;
    work.rows = rows;
    work.num_heads = kHeads;
    work.positions = positions.as<int32_t>();
    work.cos = work.sin = static_cast<const float*>(angles[0]);
    work.first_write = first.as<int32_t>();
    work.write_slots = slots.as<int32_t>();
    work.cache = {cache[i], kKvHeads, kHeadDim};
    return rope_kv_write(Element::bf16, work, stream);
  });
}

void bench_read_logits(benchmark::State& state) {
  const int64_t rows = state.range(0);
  constexpr int64_t kChunk = 8192;
  const ColdBuffers logits(rows * kChunk * 4), stats(rows * 16, 1), found(16, 1);
  const DeviceBuffer none = ints(rows + 1, 0, 1);
  time_launches(state, logits.count(), static_cast<double>(rows * kChunk * 4), 0, [&](size_t i, cudaStream_t stream) {
    ReadLogits work;
    work.logits = static_cast<const float*>(logits[i]);
    work.ld = work.chunk_tokens = kChunk;
    work.rows = rows;
    work.stats = static_cast<ChunkStats*>(stats[0]);
    work.first_target = none.as<int32_t>();
    work.targets = none.as<int32_t>();
    work.target_logits = static_cast<float*>(found[0]);
    work.vocab_size = kChunk;
    return read_logits(work, stream);
  });
}

// Rows of normal logits, as wide as a large vocabulary; temperature 0.2 and top_p 0.95, as code is sampled (arg 1), or
// temperature 1 alone (0).
void bench_draw_tokens(benchmark::State& state) {
  const int64_t rows = state.range(0);
  constexpr int64_t kVocab = 131072;
  std::vector<float> values(static_cast<size_t>(kVocab));
  std::mt19937_64 bits(1);
  std::normal_distribution<float> normal(0.0f, 4.0f);
  for (float& value : values) value = normal(bits);
  const ColdBuffers logits(rows * kVocab * 4), drawn(rows * static_cast<int64_t>(sizeof(DrawnToken)), 1);
  for (size_t copy = 0; copy < logits.count(); ++copy) {
    for (int64_t row = 0; row < rows; ++row)
      cudaMemcpy(static_cast<float*>(logits[copy]) + row * kVocab, values.data(), kVocab * 4, cudaMemcpyHostToDevice);
  }
  std::vector<TokenDraw> wanted(static_cast<size_t>(rows));
  for (size_t row = 0; row < wanted.size(); ++row) {
    wanted[row].temperature = state.range(1) == 1 ? 0.2f : 1.0f;
    wanted[row].top_p = state.range(1) == 1 ? 0.95f : 1.0f;
    wanted[row].position = static_cast<int32_t>(row);
  }
  const DeviceBuffer draws = DeviceBuffer::allocate(rows * static_cast<int64_t>(sizeof(TokenDraw)), "draws").value();
  cudaMemcpy(draws.data(), wanted.data(), wanted.size() * sizeof(TokenDraw), cudaMemcpyHostToDevice);
  time_launches(state, logits.count(), static_cast<double>(rows * kVocab * 4), 0, [&](size_t i, cudaStream_t stream) {
    DrawTokens work;
    work.logits = static_cast<const float*>(logits[i]);
    work.ld = work.vocab_size = kVocab;
    work.rows = rows;
    work.draws = draws.as<TokenDraw>();
    work.drawn = static_cast<DrawnToken*>(drawn[0]);
    return draw_tokens(work, stream);
  });
}

void bench_dequantize(benchmark::State& state) {
  const int64_t n = state.range(0), k = state.range(1), groups = k / 128;
  Int4Weight weight;
  weight.group_size = 128;
  weight.num_groups = groups;
  weight.codes = DeviceBuffer::allocate(n * k / 2, "codes").value();
  weight.scales = DeviceBuffer::allocate(n * groups * 4, "scales").value();
  cudaMemset(weight.codes.data(), 0x5a, static_cast<size_t>(n * k / 2));
  cudaMemset(weight.scales.data(), 0x3c, static_cast<size_t>(n * groups * 4));
  const ColdBuffers out(n * k * 2, 1);
  const double bytes = static_cast<double>(n * k) * 2.5 + static_cast<double>(n * groups * 4);
  time_launches(state, 1, bytes, 0, [&](size_t, cudaStream_t stream) {
    return dequantize_int4(Element::bf16, weight, k, 0, n, out[0], stream);
  });
}

// One product of a layer, by the library's fixed algorithms (arg 3 is 1) or by own kernels (0).
void bench_product(benchmark::State& state) {
  const int64_t n = state.range(0), k = state.range(1), m = state.range(2);
  static const auto opened = Blas::open();
  if (state.range(3) == 1 && !opened.ok()) return state.SkipWithError(opened.status().message().c_str());
  Blas* blas = state.range(3) == 1 ? opened.value().get() : nullptr;
  const ColdBuffers w(n * k * 2), x(m * k * 2), out(m * n * 2, 1);
  const BlasShape shape{n, k, false, false};
  if (blas) {
    const Status prepared = blas->prepare(shape, w[0], nullptr);
    if (!prepared.ok() || !blas->is_prepared(shape)) return state.SkipWithError("no algorithm is independent of m");
  }
  const double bytes = static_cast<double>(n * k + m * k + m * n) * 2;
  time_launches(state, w.count(), bytes, 2.0 * static_cast<double>(m * n) * static_cast<double>(k),
                [&](size_t i, cudaStream_t stream) {
                  if (blas) return blas->multiply(shape, x[i], w[i], m, out[0], n, stream);
                  const Epilogue store{Epilogue::Kind::store, out[0], n};
                  return multiply_own(Element::bf16, x[i], w[i], m, n, k, store, stream);
                });
}

void rows(benchmark::internal::Benchmark* bench) {
  bench->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(30);
  for (const int64_t count : {1, 16, 64, 256, 2048}) bench->Arg(count);
}

void layers(benchmark::internal::Benchmark* bench) {
  bench->UseManualTime()->Unit(benchmark::kMicrosecond)->Iterations(10)->ArgNames({"n", "k", "m", "library"});
  for (const auto& [n, k] : {std::pair{6144, 5120}, {5120, 4096}, {65536, 5120}, {5120, 32768}}) {
    for (const int64_t m : {1, 16, 64, 128, 256, 512, 1024, 2048, 4096}) bench->Args({n, k, m, 1});
    bench->Args({n, k, 2048, 0});
  }
}

BENCHMARK(bench_rms_norm)->Name("rms_norm")->Apply(rows);
BENCHMARK(bench_swiglu)->Name("swiglu")->Apply(rows);
BENCHMARK(bench_rope_kv_write)->Name("rope_kv_write")->Apply(rows);
BENCHMARK(bench_read_logits)->Name("read_logits")->Apply(rows);
BENCHMARK(bench_draw_tokens)
    ->Name("draw_tokens")
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(10)
    ->ArgNames({"rows", "top_p"})
    ->ArgsProduct({{1, 16, 64, 256}, {0, 1}});
BENCHMARK(bench_dequantize)
    ->Name("dequantize_int4")
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond)
    ->Iterations(30)
    ->Args({6144, 5120})
    ->Args({65536, 5120})
    ->Args({5120, 32768});
BENCHMARK(bench_product)->Name("product")->Apply(layers);

}  // namespace
}  // namespace assay

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  assay::add_device_context();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
