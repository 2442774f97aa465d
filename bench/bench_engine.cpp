// The engine on a real checkpoint: prefill, decode and scoring rates. Folders: ASSAY_BENCH_BF16 and ASSAY_BENCH_W4A16 (`make bench` sets them).

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "engine/base/check.h"
#include "engine/engine.h"

namespace {

using namespace assay;

// Opened once a folder: what is measured is the engine at work, not its start.
Engine& engine_of(const char* variable) {
  static std::unique_ptr<Engine> opened[2];
  std::unique_ptr<Engine>& engine = opened[std::string(variable) == "ASSAY_BENCH_W4A16"];
  if (!engine) {
    EngineOptions options;
    options.model = std::getenv(variable);
    options.prefix_tree = false;  // every token is computed
    auto result = Engine::open(options);
    if (!result.ok()) std::fprintf(stderr, "%s: %s\n", variable, result.status().message().c_str());
    ASSAY_CHECK(result.ok());
    engine = std::move(*result);
  }
  return *engine;
}

// Token ids that differ from call to call, inside any vocabulary of interest.
SharedTokens some_tokens(int64_t count, int64_t salt) {
  auto tokens = std::make_shared<Tokens>();
  for (int64_t i = 0; i < count; ++i) tokens->push_back(static_cast<TokenId>(1000 + (i * 7919 + salt * 104729) % 40000));
  return tokens;
}

void finish(Engine& engine) {
  while (engine.num_pending() > 0) {
    ASSAY_CHECK(engine.step().ok());
    engine.poll();
  }
}

void prefill(benchmark::State& state, const char* variable) {
  Engine& engine = engine_of(variable);
  const int64_t length = state.range(0);
  int64_t salt = 0;
  for (auto _ : state) {
    ASSAY_CHECK(engine.submit(LoglikelihoodRequest{some_tokens(length, ++salt), {42}}).ok());
    finish(engine);
  }
  state.counters["tokens_per_s"] = benchmark::Counter(static_cast<double>(length * state.iterations()), benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state, const char* variable) {
  Engine& engine = engine_of(variable);
  const int64_t batch = state.range(0), context = state.range(1);
  constexpr int kTokens = 64;
  double seconds = 0;
  int64_t salt = 0, generated = 0;
  for (auto _ : state) {
    SamplingParams sampling;
    sampling.max_tokens = kTokens;
    sampling.ignore_eos = true;
    for (int64_t i = 0; i < batch; ++i) ASSAY_CHECK(engine.submit(GenerateRequest{some_tokens(context, ++salt), sampling}).ok());
    // The prompts first, and the first token of each: what follows is decoding alone.
    while (engine.stats().tokens_generated - generated < batch) ASSAY_CHECK(engine.step().ok());
    const EngineStats before = engine.stats();
    finish(engine);
    const EngineStats after = engine.stats();
    seconds += (after.seconds_in_steps - before.seconds_in_steps) / static_cast<double>(after.tokens_generated - before.tokens_generated);
    generated = after.tokens_generated;
  }
  state.counters["tokens_per_s"] = static_cast<double>(state.iterations()) / seconds;
}

void start_up(benchmark::State& state, const char* variable) {
  for (auto _ : state) {
    EngineOptions options;
    options.model = std::getenv(variable);
    auto engine = Engine::open(options);
    ASSAY_CHECK(engine.ok());
    benchmark::DoNotOptimize(engine->get());
  }
}

std::string processor() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

void add_benchmarks(const char* name, const char* variable) {
  if (!std::getenv(variable)) return;
  const std::string suffix = std::string("/") + name;
  benchmark::RegisterBenchmark(("prefill" + suffix).c_str(), prefill, variable)->Arg(512)->Arg(1024)->Unit(benchmark::kMillisecond)->UseRealTime();
  benchmark::RegisterBenchmark(("decode" + suffix).c_str(), decode, variable)
      ->Args({1, 16})->Args({1, 512})->Args({16, 16})->Args({16, 512})->Unit(benchmark::kMillisecond)->UseRealTime();
  benchmark::RegisterBenchmark(("start_up" + suffix).c_str(), start_up, variable)->Unit(benchmark::kMillisecond)->UseRealTime();
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("processor", processor());
  benchmark::AddCustomContext("assay", ASSAY_VERSION);
  add_benchmarks("bf16", "ASSAY_BENCH_BF16");
  add_benchmarks("w4a16", "ASSAY_BENCH_W4A16");
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
