// The real engine on real checkpoints: prefill, decoding, start-up, and scoring in the shapes of MMLU and HellaSwag.
// Checkpoint folders come from ASSAY_BENCH_BF16 and ASSAY_BENCH_W4A16 (one may be missing), threads from
// ASSAY_BENCH_THREADS (default: every processor of this process); `make bench` sets the folders.
// ASSAY_BENCH_BACKEND=cuda measures the shapes of a large model on a GPU instead, and ASSAY_BENCH_MATMUL_TFLOPS is then
// the matrix product rate that bench_gemm measured on it. Prompts are random and no two begin with the same token:
// nothing is found in the prefix tree that a benchmark did not put there on purpose.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/matmul_rate.h"
#include "bench/nvml.h"
#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/rng.h"
#include "engine/base/text_util.h"
#include "engine/base/threads.h"
#include "engine/engine.h"
#include "engine/model/model_config.h"

namespace assay {
namespace {

using benchmark::Counter;
using Clock = std::chrono::steady_clock;

// A checkpoint to measure, and the one engine that is open at a time: two would share memory and caches.
struct Subject {
  std::string label;  // "bf16", "w4a16"
  std::string folder;
  double matmul_flops_per_token = 0;  // of the layers' linears; the head and attention are not counted
  double matmul_flops_per_s = 0;      // what oneDNN or cuBLAS reaches on this machine; 0: not measured
};

bool on_gpu() {
  const char* backend = std::getenv("ASSAY_BENCH_BACKEND");
  return backend && std::string_view(backend) == "cuda";
}

int num_threads() {
  const char* text = std::getenv("ASSAY_BENCH_THREADS");
  const auto value = text ? parse_int(text) : std::nullopt;
  return value && *value > 0 && *value <= 1024 ? static_cast<int>(*value) : available_cpus();
}

Result<std::unique_ptr<Engine>> open_engine(const Subject& subject) {
  EngineOptions options;
  options.model = subject.folder;
  options.num_threads = num_threads();
  options.backend = on_gpu() ? "cuda" : "cpu";
  return Engine::open(options);
}

struct OpenEngine {
  std::string folder;
  std::unique_ptr<Engine> engine;
};

OpenEngine& open_now() {
  static OpenEngine open;
  return open;
}

Result<Engine*> engine_of(const Subject& subject) {
  OpenEngine& open = open_now();
  if (open.folder != subject.folder) {
    open = {};
    ASSAY_ASSIGN(open.engine, open_engine(subject));
    open.folder = subject.folder;
  }
  return open.engine.get();
}

// Random ids; the first one counts up, so that no prompt of this process shares a prefix with another.
Tokens fresh_tokens(const Engine& engine, int64_t count) {
  static uint64_t num_prompts = 0;
  const auto vocab_size = static_cast<uint64_t>(engine.info().vocab_size);
  Tokens tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<TokenId>(random_bits(0, num_prompts, i) % vocab_size);
  tokens.front() = static_cast<TokenId>(num_prompts++ % vocab_size);
  return tokens;
}

Tokens joined(Tokens prefix, const Tokens& rest) {
  prefix.insert(prefix.end(), rest.begin(), rest.end());
  return prefix;
}

Status take_answers(Engine& engine) {
  for (const Answer& answer : engine.poll()) {
    if (!answer.error.empty()) return internal_error(answer.error);
  }
  return ok_status();
}

Status finish(Engine& engine) {
  for (;;) {
    ASSAY_ASSIGN(const bool worked, engine.step());
    ASSAY_TRY(take_answers(engine));
    if (!worked) return ok_status();
  }
}

Result<RequestId> ask_tokens(Engine& engine, int64_t context, int max_tokens) {
  GenerateRequest request;
  request.prompt = std::make_shared<const Tokens>(fresh_tokens(engine, context));
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  return engine.submit(std::move(request));
}

void count_tokens(benchmark::State& state, const Subject& subject, int64_t tokens) {
  const auto computed = static_cast<double>(tokens);
  state.counters["tokens_per_s"] = Counter(computed, Counter::kIsRate);
  if (subject.matmul_flops_per_s == 0) return;
  state.counters["of_matmul_rate"] =
      Counter(computed * subject.matmul_flops_per_token / subject.matmul_flops_per_s, Counter::kIsRate);
}

// Prompts in, their next tokens out.
Status prefill_once(Engine& engine, int64_t batch, int64_t length) {
  for (int64_t i = 0; i < batch; ++i) ASSAY_TRY(ask_tokens(engine, length, 1));
  return finish(engine);
}

void prefill(benchmark::State& state, const Subject& subject, int64_t batch, int64_t length) {
  const auto engine = engine_of(subject);
  if (!engine.ok()) return state.SkipWithError(engine.status().message().c_str());
  for (auto _ : state) {
    const Status status = prefill_once(**engine, batch, length);
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
  count_tokens(state, subject, batch * length * state.iterations());
}

// All at once, as a server is measured: `count` prompts of `length` tokens, each followed by `max_tokens` more.
void serve(benchmark::State& state, const Subject& subject, int64_t count, int64_t length, int max_tokens) {
  const auto engine = engine_of(subject);
  if (!engine.ok()) return state.SkipWithError(engine.status().message().c_str());
  for (auto _ : state) {
    Status status = ok_status();
    for (int64_t i = 0; i < count && status.ok(); ++i) status = ask_tokens(**engine, length, max_tokens).status();
    if (status.ok()) status = finish(**engine);
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
  state.counters["generated_per_s"] =
      Counter(static_cast<double>(count * max_tokens * state.iterations()), Counter::kIsRate);
}

// Steps of decoding: those to measure, after those that bring what is made once (recorded steps, caches).
struct DecodeSteps {
  int warm_up = 0, measured = 63;
};

// Seconds of each measured step after `batch` prompts. Only steps that give one token to every sequence count: none
// that still computes a prompt.
Result<std::vector<double>> decode_once(Engine& engine, int64_t batch, int64_t context, const DecodeSteps& steps) {
  // The first sequence decodes while the last one's prompt is computed.
  const auto behind = static_cast<int>(batch * context / 8192);
  for (int64_t i = 0; i < batch; ++i)
    ASSAY_TRY(ask_tokens(engine, context, 1 + behind + steps.warm_up + steps.measured));
  std::vector<double> seconds;
  int warm_up = steps.warm_up;
  while (engine.num_pending() > 0) {
    const EngineStats before = engine.stats();
    const auto begin = Clock::now();
    ASSAY_TRY(engine.step());
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    const EngineStats after = engine.stats();
    ASSAY_TRY(take_answers(engine));
    const int64_t generated = after.tokens_generated - before.tokens_generated;
    if (generated != batch || after.tokens_computed - before.tokens_computed != batch || warm_up-- > 0) continue;
    seconds.push_back(elapsed.count());
  }
  return seconds;
}

void decode(benchmark::State& state, const Subject& subject, int64_t batch, int64_t context, const DecodeSteps& steps) {
  const auto engine = engine_of(subject);
  if (!engine.ok()) return state.SkipWithError(engine.status().message().c_str());
  std::vector<double> all;
  for (auto _ : state) {
    const auto seconds = decode_once(**engine, batch, context, steps);
    if (!seconds.ok()) return state.SkipWithError(seconds.status().message().c_str());
    if (seconds->empty())
      return state.SkipWithError("decode: no step held one token of every sequence: the KV cache is too small");
    state.SetIterationTime(std::accumulate(seconds->begin(), seconds->end(), 0.0));
    all.insert(all.end(), seconds->begin(), seconds->end());
  }
  state.counters["tokens_per_s"] =
      Counter(static_cast<double>(batch) * static_cast<double>(all.size()), Counter::kIsRate);
  std::sort(all.begin(), all.end());
  state.counters["steps"] = static_cast<double>(all.size());
  state.counters["step_ms_least"] = 1e3 * all.front();
  state.counters["step_ms_median"] = 1e3 * all[all.size() / 2];
  state.counters["step_ms_most"] = 1e3 * all.back();
}

// From nothing to the first token. The checkpoint's pages are in the system's cache after the first time.
void start_up(benchmark::State& state, const Subject& subject) {
  open_now() = {};
  for (auto _ : state) {
    auto engine = open_engine(subject);
    const Status status = engine.ok() ? prefill_once(**engine, 1, 4) : engine.status();
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
}

// What a multiple-choice benchmark asks, in token counts.
struct ScoringShape {
  int64_t num_questions = 0;
  int64_t shared_tokens = 0;    // shots that every question follows; 0: each question has its own
  int64_t question_tokens = 0;  // a question, with its own shots
  int num_choices = 0;
  int64_t choice_tokens = 0;
};

// An MMLU subject of average length: five shots, 246 questions, four letters. 57 of them are the whole benchmark.
constexpr ScoringShape kMmluSubject = {246, 620, 110, 4, 1};
constexpr int kMmluSubjects = 57;
// HellaSwag with ten shots drawn anew for every question: only its four endings share anything.
constexpr ScoringShape kHellaswag = {8, 0, 905, 4, 28};

Status submit_questions(Engine& engine, const ScoringShape& shape) {
  const Tokens shots = shape.shared_tokens > 0 ? fresh_tokens(engine, shape.shared_tokens) : Tokens();
  for (int64_t question = 0; question < shape.num_questions; ++question) {
    const auto context = std::make_shared<const Tokens>(joined(shots, fresh_tokens(engine, shape.question_tokens)));
    for (int choice = 0; choice < shape.num_choices; ++choice) {
      ASSAY_TRY(engine.submit(LoglikelihoodRequest{context, fresh_tokens(engine, shape.choice_tokens)}));
    }
  }
  return ok_status();
}

void score(benchmark::State& state, const Subject& subject, const ScoringShape& shape, int num_sets) {
  const auto opened = engine_of(subject);
  if (!opened.ok()) return state.SkipWithError(opened.status().message().c_str());
  Engine& engine = **opened;
  const EngineStats before = engine.stats();
  for (auto _ : state) {
    Status status = ok_status();
    for (int set = 0; set < num_sets && status.ok(); ++set) status = submit_questions(engine, shape);
    if (status.ok()) status = finish(engine);
    if (!status.ok()) return state.SkipWithError(status.message().c_str());
  }
  const EngineStats after = engine.stats();
  const int64_t computed = after.tokens_computed - before.tokens_computed;
  count_tokens(state, subject, computed);
  state.counters["questions_per_s"] =
      Counter(static_cast<double>(shape.num_questions * num_sets * state.iterations()), Counter::kIsRate);
  state.counters["computed_over_minimum"] =
      static_cast<double>(computed) / static_cast<double>(after.tokens_minimum - before.tokens_minimum);
}

// What to measure where: shapes that fill the machine and still end soon.
struct Shapes {
  std::vector<std::pair<int64_t, int64_t>> prefill;  // batch, length
  std::vector<std::pair<int64_t, int64_t>> decode;   // batch, context
  int mmlu_subjects = 1;
  int64_t served = 0;  // requests of 500 tokens in and 500 out, all at once
  DecodeSteps decode_steps;
};
const Shapes kCpuShapes = {{{1, 512}, {1, 1024}}, {{1, 16}, {1, 512}, {16, 16}, {16, 512}}, 1, 0, {}};
const Shapes kGpuShapes = {
    {{1, 1024}, {8, 1024}, {64, 1024}}, {{1, 1024}, {16, 1024}, {64, 1024}, {256, 1024}}, kMmluSubjects, 300, {16, 96}};

// As the row ends: clocks drop within a second of idling, memory stays until the engine is closed.
void observe_gpu(benchmark::State& state) {
  const bench::GpuState gpu = bench::gpu_state();
  state.counters["sm_mhz"] = gpu.sm_mhz;
  state.counters["slowdown_mask"] = static_cast<double>(gpu.slowdown_reasons);
  state.counters["gpu_memory_gib"] = bench::gpu_memory_used_gib();
}

std::string prefill_name(int64_t batch, int64_t length) {
  return batch == 1 ? fmt::format("prefill_{}", length) : fmt::format("prefill_{}x{}", batch, length);
}

void add_benchmarks(const Subject& subject, const Shapes& shapes) {
  const auto add = [&](const std::string& name, auto measure) {
    const auto observed = [measure](benchmark::State& state) {
      measure(state);
      if (on_gpu()) observe_gpu(state);
    };
    return benchmark::RegisterBenchmark((name + "/" + subject.label).c_str(), observed)->Unit(benchmark::kMillisecond);
  };
  for (const auto& [batch, length] : shapes.prefill) {
    add(prefill_name(batch, length), [=, batch = batch, length = length](benchmark::State& state) {
      prefill(state, subject, batch, length);
    })->UseRealTime();
  }
  for (const auto& [batch, context] : shapes.decode) {
    add(fmt::format("decode_batch{}_context{}", batch, context), [=, batch = batch,
                                                                  context = context](benchmark::State& state) {
      decode(state, subject, batch, context, shapes.decode_steps);
    })->UseManualTime();
  }
  if (shapes.served > 0) {
    const int64_t count = shapes.served;
    add(fmt::format("serve_{}x500_500", count),
        [=](benchmark::State& state) { serve(state, subject, count, 500, 500); })
        ->Iterations(1)
        ->UseRealTime();
  }
  const int subjects = shapes.mmlu_subjects;
  add(subjects == 1 ? "score_mmlu_subject" : "score_mmlu",
      [=](benchmark::State& state) {
        score(state, subject, kMmluSubject, subjects);
        const double share_of_mmlu = static_cast<double>(subjects * state.iterations()) / kMmluSubjects;
        state.counters["whole_mmlu_minutes"] = Counter(60 * share_of_mmlu, Counter::kIsRate | Counter::kInvert);
      })
      ->Iterations(1)
      ->UseRealTime();
  add("score_hellaswag", [=](benchmark::State& state) { score(state, subject, kHellaswag, 1); })
      ->Iterations(1)
      ->UseRealTime();
  add("start_up", [=](benchmark::State& state) { start_up(state, subject); })
      ->Iterations(on_gpu() ? 1 : 3)
      ->UseRealTime();
}

double matmul_flops_per_token(const ModelConfig& config) {
  const int64_t attention = config.hidden_size * (2 * config.q_width() + 2 * config.kv_width());
  const int64_t mlp = 3 * config.hidden_size * config.intermediate_size;
  return 2.0 * static_cast<double>(config.num_layers * (attention + mlp));
}

Result<Subject> make_subject(const std::string& label, const std::string& folder) {
  const Path file = Path(folder) / "config.json";
  ASSAY_ASSIGN(const std::string text, real_files().read(file));
  ASSAY_ASSIGN(const Json json, Json::parse(text, file.string()));
  ASSAY_ASSIGN(const ModelConfig config, read_model_config(json, nullptr, file.string()));
  Subject subject{label, folder, matmul_flops_per_token(config), 0};
  if (on_gpu()) {
    const char* rate = std::getenv("ASSAY_BENCH_MATMUL_TFLOPS");
    subject.matmul_flops_per_s = rate ? std::atof(rate) * 1e12 : 0;
  } else {
    ASSAY_ASSIGN(subject.matmul_flops_per_s,
                 measure_matmul_flops_per_s(num_threads(), 512, config.hidden_size, config.intermediate_size));
  }
  return subject;
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (starts_with(line, "model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

void describe_machine(const std::vector<Subject>& subjects) {
  benchmark::AddCustomContext("cpu_model", processor_name());
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  if (on_gpu()) {
    benchmark::AddCustomContext("gpu", bench::gpu_name());
    benchmark::AddCustomContext("gpu_driver", bench::driver_version());
  }
  benchmark::AddCustomContext("build",
                              fmt::format("assay {}, {}, g++ {}", ASSAY_VERSION, ASSAY_BUILD_TYPE, __VERSION__));
  for (const Subject& subject : subjects) {
    benchmark::AddCustomContext(subject.label + "_model", subject.folder);
    benchmark::AddCustomContext(subject.label + "_matmul_gflops_per_s",
                                fmt::format("{:.0f}", subject.matmul_flops_per_s * 1e-9));
  }
}

Result<std::vector<Subject>> subjects_from_environment() {
  std::vector<Subject> subjects;
  for (const auto& [label, variable] :
       {std::pair{"bf16", "ASSAY_BENCH_BF16"}, std::pair{"w4a16", "ASSAY_BENCH_W4A16"}}) {
    const char* folder = std::getenv(variable);
    if (!folder || !*folder) continue;
    auto subject = make_subject(label, folder);
    if (!subject.ok()) return subject.status().with_context(variable);
    subjects.push_back(std::move(*subject));
  }
  if (subjects.empty()) {
    return invalid_argument(
        "no checkpoint: name folders with ASSAY_BENCH_BF16 and ASSAY_BENCH_W4A16 (`make bench` does)");
  }
  return subjects;
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return exit_code(Code::invalid_argument);
  const auto subjects = subjects_from_environment();
  if (!subjects.ok()) {
    std::fprintf(stderr, "bench_engine: %s\n", subjects.status().message().c_str());
    return exit_code(subjects.status().code());
  }
  describe_machine(*subjects);
  for (const Subject& subject : *subjects) add_benchmarks(subject, on_gpu() ? kGpuShapes : kCpuShapes);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  open_now() = {};
  return 0;
}

}  // namespace
}  // namespace assay

int main(int argc, char** argv) { return assay::run(argc, argv); }
