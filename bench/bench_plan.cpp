// How fast questions become prompts and tokens: what stands between a command and its first batch.
// ASSAY_BENCH_MODEL names a checkpoint folder (tokenizer and chat template are read, no weights); data as for `assay
// run`.

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdlib>

#include "engine/base/threads.h"
#include "engine/text/chat_template.h"
#include "engine/text/tokenizer.h"
#include "evals/run/plan.h"
#include "tasks/all_tasks.h"

namespace assay {
namespace {

const Registry& registry() {
  static const Registry* const all = [] {
    auto* made = new Registry;
    add_all_tasks(*made);
    return made;
  }();
  return *all;
}

struct Words {
  Tokenizer tokenizer;
  ChatTemplate chat;
};

Result<Words> open_words() {
  const char* folder = std::getenv("ASSAY_BENCH_MODEL");
  const Path path = folder ? folder : ".assay/models/smollm2-135m-instruct-bf16";
  ASSAY_ASSIGN(auto tokenizer, Tokenizer::open(path));
  ASSAY_ASSIGN(auto chat, ChatTemplate::open(path));
  if (!chat) return not_found(path.string() + ": no chat template");
  return Words{std::move(tokenizer), std::move(*chat)};
}

ChatRenderer renderer(const Words& words) {
  return [&words](const std::vector<ChatMessage>& messages, const RenderOptions& render) {
    ChatRenderOptions options;
    options.add_generation_prompt = render.add_generation_prompt;
    options.continue_final_message = render.continue_final_message;
    return words.chat.render(messages, options, 1744675200000000);
  };
}

RunSettings settings_of(const std::string& tasks, bool chat) {
  RunSettings settings;
  settings.tasks = {tasks};
  settings.prompt.apply_chat_template = settings.prompt.fewshot_as_multiturn = chat;
  if (tasks == "mmlu") settings.num_fewshot = "5";
  if (tasks == "hellaswag") settings.num_fewshot = "10", settings.fewshot_split = "validation";
  return settings;
}

// Tokens of one sample's requests; -1 on failure.
int64_t tokens_of(const PlannedTask& task, size_t position, const RunSettings& settings, const Words& words) {
  const auto texts = prompt_of(task, position, settings, renderer(words));
  if (!texts.ok()) return -1;
  int64_t sum = 0;
  for (size_t i = 0; i < texts->num_requests(); ++i) {
    const auto pair = encode_pair([&](std::string_view text) { return words.tokenizer.encode(text); },
                                  texts->context_of(i), texts->continuations[i], 1, 1 << 20);
    if (!pair.ok()) return -1;
    sum += static_cast<int64_t>(pair->context.size() + pair->continuation.size());
  }
  return sum;
}

// Loads data, draws shots, builds every prompt and its tokens on all processors.
void BM_prompts(benchmark::State& state, const std::string& tasks, bool chat) {
  const auto words = open_words();
  if (!words.ok()) return state.SkipWithError(words.status().message().c_str());
  const RunSettings settings = settings_of(tasks, chat);
  int64_t questions = 0;
  std::atomic<int64_t> tokens = 0, failures = 0;
  for (auto _ : state) {
    const auto planned = plan_run(registry(), settings, DataLocations::from_environment());
    if (!planned.ok()) return state.SkipWithError(planned.status().message().c_str());
    for (const PlannedTask& task : *planned) {
      parallel_for(task.doc_ids.size(), [&](size_t i) {
        const int64_t count = tokens_of(task, i, settings, *words);
        count < 0 ? ++failures : tokens += count;
      });
      questions += static_cast<int64_t>(task.doc_ids.size());
    }
  }
  state.counters["questions"] = static_cast<double>(questions) / static_cast<double>(state.iterations());
  state.counters["tokens"] = static_cast<double>(tokens) / static_cast<double>(state.iterations());
  state.counters["failures"] = static_cast<double>(failures);
  state.counters["questions/s"] = benchmark::Counter(static_cast<double>(questions), benchmark::Counter::kIsRate);
}

// One item anywhere in a task that is planned: text and tokens.
void BM_any_item(benchmark::State& state, const std::string& task, bool chat) {
  const auto words = open_words();
  if (!words.ok()) return state.SkipWithError(words.status().message().c_str());
  const RunSettings settings = settings_of(task, chat);
  const auto planned = plan_run(registry(), settings, DataLocations::from_environment());
  if (!planned.ok()) return state.SkipWithError(planned.status().message().c_str());
  uint64_t next = 0;
  for (auto _ : state) {
    next += 0x9e3779b97f4a7c15;
    const PlannedTask& any = (*planned)[next % planned->size()];
    benchmark::DoNotOptimize(tokens_of(any, (next >> 32) % any.doc_ids.size(), settings, *words));
  }
}

void register_all() {
  for (const bool chat : {true, false}) {
    for (const char* task : {"mmlu", "hellaswag"}) {
      const std::string mode = chat ? "/chat" : "/plain";
      benchmark::RegisterBenchmark(("prompts/" + std::string(task) + mode).c_str(), BM_prompts, task, chat)
          ->Iterations(1)
          ->UseRealTime()
          ->MeasureProcessCPUTime()
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("any_item/" + std::string(task) + mode).c_str(), BM_any_item, task, chat)
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace assay

int main(int argc, char** argv) {
  assay::register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
