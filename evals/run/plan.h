#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/engine.h"
#include "evals/data/fetch.h"
#include "evals/prompt/prompt.h"
#include "evals/store/store.h"
#include "evals/task/registry.h"

namespace assay {

// Everything the user chose that may change a score. Serialized into the store; resume reads it back.
struct RunSettings {
  std::vector<std::string> tasks;  // as given: tasks, groups
  // Each "" (every task's own), one value for all ("5", "validation"), or values by task ("mmlu=5,arc_easy=0"; see
  // choice_for).
  std::string num_fewshot, split, fewshot_split;
  PromptSettings prompt;
  std::string limit;                                    // likewise: first N samples a leaf task, or a fraction below 1
  std::map<std::string, std::vector<int64_t>> samples;  // doc_ids by task; empty: all
  Json gen_kwargs = Json::object();  // until, max_gen_toks, temperature, top_p, top_k, min_p, do_sample, ...
  int64_t max_length = 0;            // 0: the model's
  uint64_t fewshot_seed = 1234;
  uint64_t seed = 0;    // of sampled generations
  std::string now_utc;  // the "now" that chat templates see; "": the engine's fixed default

  bool skip_bad_rows = false;           // leave out rows that fail the task's checks, instead of not starting
  std::vector<std::string> task_files;  // absolute paths of the files that define some of the tasks

  Json to_json() const;
  static Result<RunSettings> from_json(const Json& json);
};

// What a setting such as "5" or "mmlu=5,arc_easy=0" says about a task. NAME=VALUE parts match the task, its group, or
// names that begin with NAME_; the longest NAME wins, and any of them over a bare VALUE. "" when nothing is said.
// `option` names it in errors: invalid_argument for a part without value.
Result<std::string> choice_for(std::string_view option, const std::string& setting, const std::string& task,
                               const std::string& group);

// Settings that cannot change a score; they are not stored.
struct RunHints {
  std::string item_order = "natural";  // "natural", "reverse", "shuffled:SEED": the order of asking
  int64_t window_items = 4096;         // samples submitted at once
};

// A leaf task made concrete: documents, shots, chosen samples.
struct PlannedTask {
  const Task* task = nullptr;
  StoredTask stored;
  std::vector<Json> documents;              // the evaluated split
  std::vector<Json> shot_pool;              // empty at 0 shots; may be the evaluated split itself
  std::vector<int64_t> doc_ids;             // to ask, ascending
  std::vector<std::vector<int64_t>> shots;  // rows of shot_pool, one list a chosen doc_id
  AskContext asked;
};

// Loads data, applies limit and samples, draws shots. Errors name task, split, file.
Result<PlannedTask> plan_task(const Task& task, const RunSettings& settings, const DataLocations& locations);
Result<std::vector<PlannedTask>> plan_run(const Registry& registry, const RunSettings& settings,
                                          const DataLocations& locations);

// TaskInfo as JSON: what the store keeps of a task for exports.
Json task_info_to_json(const TaskInfo& info);

// How a task's generations are made once --gen-kwargs has had its say; `max_gen_toks` of them at most.
struct GenerationPlan {
  SamplingParams sampling;  // max_tokens, temperature, ..., stop strings of the task and the end-of-sequence text
  std::vector<std::string> until;  // the task's own stop strings, in order, for export
};
Result<GenerationPlan> generation_plan(const GenerationSettings& task, const RunSettings& settings,
                                       const EngineInfo& model);
// The way of asking that the settings choose.
AskContext ask_context(const RunSettings& settings);

// SHA-256 over settings, model digests and data digests: equal exactly when two runs ask the same model the same
// questions.
std::string plan_digest(const RunSettings& settings, const EngineInfo& model, const std::vector<PlannedTask>& tasks);

// The texts of one chosen sample (position in PlannedTask::doc_ids). Thread-safe.
Result<PromptTexts> prompt_of(const PlannedTask& planned, size_t position, const RunSettings& settings,
                              const ChatRenderer& chat);
Result<Sample> sample_of(const PlannedTask& planned, size_t position);
// Its worked examples, in order.
Result<std::vector<Question>> shots_of(const PlannedTask& planned, size_t position);

}  // namespace assay
