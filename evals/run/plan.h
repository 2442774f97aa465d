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
  std::vector<std::string> tasks;         // as given: tasks, groups
  std::optional<int> num_fewshot;         // overrides each task's own
  std::string split, fewshot_split;       // "": each task's own
  PromptSettings prompt;
  std::optional<double> limit;            // >= 1: first N samples a leaf task; < 1: that fraction
  std::map<std::string, std::vector<int64_t>> samples;  // doc_ids by task; empty: all
  Json gen_kwargs = Json::object();       // until, max_gen_toks, temperature, top_p, top_k, min_p, do_sample, ...
  int64_t max_length = 0;                 // 0: the model's
  uint64_t fewshot_seed = 1234;
  uint64_t seed = 0;                      // of sampled generations
  std::string profile = "main";

  Json to_json() const;
  static Result<RunSettings> from_json(const Json& json);
};

// Settings that cannot change a score; they are not stored.
struct RunHints {
  std::string item_order = "natural";     // "natural", "reverse", "shuffled:SEED": the order of asking
  int64_t window_items = 4096;            // samples submitted at once
};

// A leaf task made concrete: documents, shots, chosen samples.
struct PlannedTask {
  const Task* task = nullptr;
  StoredTask stored;
  std::vector<Json> documents;            // the evaluated split
  std::vector<Json> shot_pool;            // empty at 0 shots; may be the evaluated split itself
  std::vector<int64_t> doc_ids;           // to ask, ascending
  std::vector<std::vector<int64_t>> shots;  // rows of shot_pool, one list a chosen doc_id
};

// Loads data, applies limit and samples, draws shots. Errors name task, split, file.
Result<PlannedTask> plan_task(const Task& task, const RunSettings& settings, const DataLocations& locations);
Result<std::vector<PlannedTask>> plan_run(const Registry& registry, const RunSettings& settings, const DataLocations& locations);

// SHA-256 over settings, model digests and data digests: equal exactly when two runs ask the same model the same questions.
std::string plan_digest(const RunSettings& settings, const EngineInfo& model, const std::vector<PlannedTask>& tasks);

// The texts of one chosen sample (position in PlannedTask::doc_ids). Thread-safe.
Result<PromptTexts> prompt_of(const PlannedTask& planned, size_t position, const RunSettings& settings, const ChatRenderer& chat);
Result<Sample> sample_of(const PlannedTask& planned, size_t position);

}  // namespace assay
