#include "evals/run/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <unordered_set>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "evals/prompt/few_shot.h"
#include "evals/run/rows.h"

namespace assay {
namespace {

// A split made into documents, with its pedigree.
struct Documents {
  std::vector<Json> documents;
  std::string source, sha256, label;
};

// The split read last: tasks that are categories of one file follow each other, and it is read once for all of them.
using LastSplit = std::map<std::string, std::shared_ptr<const LoadedSplit>>;

Result<std::shared_ptr<const LoadedSplit>> read_split(const TaskInfo& info, const std::string& split,
                                                      const DataLocations& locations, LastSplit& last) {
  const std::string key = info.dataset + "\n" + info.subset + "\n" + split;
  if (const auto found = last.find(key); found != last.end()) return found->second;
  ASSAY_ASSIGN(const DatasetManifest* manifest, find_manifest(info.dataset));
  auto loaded = load_split(locations, *manifest, info.subset, split);
  if (!loaded.ok()) return loaded.status().with_context(fmt::format("{}, split {}", info.name, split));
  auto shared = std::make_shared<const LoadedSplit>(std::move(*loaded));
  if (info.subset.empty()) last[key] = shared;
  return shared;
}

void add_label(std::string& label, const std::string& part) {
  if (part.empty() || label.find(part) != std::string::npos) return;
  label += (label.empty() ? "" : "; ") + part;
}

Result<Documents> load_documents(const Task& task, const std::string& split, SplitRole role,
                                 const RunSettings& settings, const DataLocations& locations, LastSplit& last) {
  const TaskInfo& info = task.info();
  ASSAY_ASSIGN(const std::shared_ptr<const LoadedSplit> loaded, read_split(info, split, locations, last));
  ASSAY_ASSIGN(CheckedRows checked, check_rows(task, *loaded, settings.skip_bad_rows));
  Documents result;
  result.documents = std::move(checked.documents);
  ASSAY_TRY(task.prepare(result.documents, role));
  result.source = loaded->source;
  result.sha256 = loaded->sha256;
  if (!loaded->canonical) result.label = loaded->label;
  if (checked.skipped > 0) add_label(result.label, fmt::format("{} bad rows of {} skipped", checked.skipped, split));
  return result;
}

// The rows to ask, ascending: --samples, else --limit, else all.
Result<std::vector<int64_t>> choose_rows(const TaskInfo& info, const RunSettings& settings, int64_t rows) {
  std::vector<int64_t> chosen;
  const auto named = settings.samples.find(info.name);
  if (named != settings.samples.end()) {
    chosen = named->second;
    std::sort(chosen.begin(), chosen.end());
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    if (!chosen.empty() && chosen.back() >= rows) {
      return invalid_argument(
          fmt::format("--samples {}: document {} does not exist, the split has {}", info.name, chosen.back(), rows));
    }
    return chosen;
  }
  int64_t count = settings.samples.empty() ? rows : 0;
  ASSAY_ASSIGN(const std::string limit_text, choice_for("--limit", settings.limit, info.name, info.group));
  if (!limit_text.empty()) {
    const auto limit = parse_double(limit_text);
    if (!limit || !(*limit > 0) || (*limit > 1 && *limit != std::floor(*limit))) {
      return invalid_argument(fmt::format("--limit {}: expected a count, or a fraction below 1", limit_text));
    }
    const double wanted = *limit < 1 ? std::ceil(static_cast<double>(rows) * *limit) : *limit;
    count = std::min(count, static_cast<int64_t>(wanted));
  }
  for (int64_t i = 0; i < count; ++i) chosen.push_back(i);
  return chosen;
}

Result<int> shots_of(const TaskInfo& info, const RunSettings& settings) {
  ASSAY_ASSIGN(const std::string text, choice_for("--num-fewshot", settings.num_fewshot, info.name, info.group));
  if (info.fixed_num_fewshot || text.empty()) return info.num_fewshot;
  const auto shots = parse_int(text);
  if (!shots || *shots < 0 || *shots > 1000)
    return invalid_argument(fmt::format("--num-fewshot {}: expected a number from 0 to 1000", text));
  return static_cast<int>(*shots);
}

Status draw_shots(PlannedTask& planned, const RunSettings& settings, bool same_split) {
  const TaskInfo& info = planned.task->info();
  // April 2025's lm-eval drew once for a text that it then threw away.
  const PromptSettings& prompt = settings.prompt;
  const bool draws_twice =
      prompt.profile == Profile::card_2025_04 && prompt.apply_chat_template && !prompt.fewshot_as_multiturn;
  FewShotPicker picker(info.sampler, planned.shot_pool, planned.stored.num_fewshot, same_split, settings.fewshot_seed);
  for (const int64_t doc_id : planned.doc_ids) {
    const Json& document = planned.documents[static_cast<size_t>(doc_id)];
    if (draws_twice) ASSAY_TRY(picker.pick(document));
    auto shots = picker.pick(document);
    if (!shots.ok())
      return shots.status().with_context(fmt::format("{}, split {}", info.name, planned.stored.fewshot_split));
    planned.shots.push_back(std::move(*shots));
  }
  return ok_status();
}

Json filter_to_json(const Filter& filter) {
  Json steps = Json::array();
  for (const FilterStep& step : filter.steps) {
    static constexpr std::string_view kKinds[] = {"regex", "multi_choice_regex", "take_first", "lowercase", "strip"};
    Json json = Json::object();
    json.set("function", kKinds[static_cast<size_t>(step.kind)]);
    if (!step.pattern.empty()) json.set("regex_pattern", step.pattern).set("group_select", step.group_select);
    steps.push_back(std::move(json));
  }
  return Json::object().set("name", filter.name).set("filter", std::move(steps));
}

Json strings_json(const std::vector<std::string>& values) {
  Json json = Json::array();
  for (const std::string& value : values) json.push_back(value);
  return json;
}

}  // namespace

Json task_info_to_json(const TaskInfo& info) {
  Json json = Json::object();
  json.set("task", info.name).set("dataset_path", info.dataset_path);
  json.set("dataset_name", info.dataset_name.empty() ? Json() : Json(info.dataset_name));
  if (!info.training_split.empty()) json.set("training_split", info.training_split);
  if (!info.validation_split.empty()) json.set("validation_split", info.validation_split);
  if (!info.test_split.empty()) json.set("test_split", info.test_split);
  if (!info.fewshot_split.empty()) json.set("fewshot_split", info.fewshot_split);
  json.set("description", info.description).set("target_delimiter", info.target_delimiter);
  json.set("fewshot_delimiter", info.fewshot_delimiter);
  json.set("output_type", request_kind_name(info.kind)).set("version", info.version);
  if (!info.definition_sha256.empty()) json.set("definition_sha256", info.definition_sha256);
  Json metrics = Json::array();
  for (const MetricInfo& metric : info.metrics) {
    Json entry = Json::object().set("metric", metric.name).set("aggregation", metric.aggregation);
    entry.set("higher_is_better", metric.higher_is_better);
    if (!metric.share) entry.set("share", false);
    metrics.push_back(std::move(entry));
  }
  json.set("metric_list", std::move(metrics));
  if (info.kind == RequestKind::generate_until) {
    Json generation = Json::object();
    generation.set("until", strings_json(info.generation.until)).set("do_sample", info.generation.do_sample);
    generation.set("temperature", static_cast<double>(info.generation.temperature));
    if (info.generation.max_gen_toks > 0) generation.set("max_gen_toks", info.generation.max_gen_toks);
    json.set("generation_kwargs", std::move(generation));
    Json filters = Json::array();
    for (const Filter& filter : info.filters) filters.push_back(filter_to_json(filter));
    json.set("filter_list", std::move(filters));
  }
  return json;
}

namespace {

// The few-shot pool of a task, and where it came from.
Status load_shot_pool(const Task& task, const std::string& split, const std::string& named_split,
                      const RunSettings& settings, const DataLocations& locations, LastSplit& last,
                      PlannedTask& planned) {
  const TaskInfo& info = task.info();
  StoredTask& stored = planned.stored;
  planned.shot_pool = named_split.empty() ? task.inline_shots() : std::vector<Json>();
  if (!planned.shot_pool.empty()) {
    stored.fewshot_split = "inline";
    stored.fewshot_data_sha256 = sha256_hex(Json(Json::Array(planned.shot_pool)).dump());
    return ok_status();
  }
  stored.fewshot_split = named_split.empty() ? info.shot_split() : named_split;
  auto pool = load_documents(task, stored.fewshot_split, SplitRole::shots, settings, locations, last);
  if (!pool.ok()) {
    return pool.status().with_context(
        fmt::format("shots of {} (another split can be named with --fewshot-split)", info.name));
  }
  planned.shot_pool = std::move(pool->documents);
  stored.fewshot_data_sha256 = pool->sha256;
  if (stored.fewshot_split != split) add_label(stored.split_label, pool->label);
  if (stored.fewshot_split != info.shot_split()) add_label(stored.split_label, "shots from " + stored.fewshot_split);
  return ok_status();
}

Result<PlannedTask> plan_with(const Task& task, const RunSettings& settings, const DataLocations& locations,
                              LastSplit& last) {
  const TaskInfo& info = task.info();
  PlannedTask planned;
  planned.task = &task;
  planned.asked = ask_context(settings);
  ASSAY_ASSIGN(std::string split, choice_for("--split", settings.split, info.name, info.group));
  ASSAY_ASSIGN(const std::string named_shot_split,
               choice_for("--fewshot-split", settings.fewshot_split, info.name, info.group));
  if (split.empty()) split = info.eval_split();

  StoredTask& stored = planned.stored;
  ASSAY_ASSIGN(Documents evaluated, load_documents(task, split, SplitRole::evaluated, settings, locations, last));
  planned.documents = std::move(evaluated.documents);
  stored.rows = static_cast<int64_t>(planned.documents.size());
  ASSAY_ASSIGN(planned.doc_ids, choose_rows(info, settings, stored.rows));
  ASSAY_ASSIGN(stored.num_fewshot, shots_of(info, settings));
  if (split != info.eval_split()) add_label(stored.split_label, split + " split");
  add_label(stored.split_label, evaluated.label);

  if (stored.num_fewshot > 0) {
    ASSAY_TRY(load_shot_pool(task, split, named_shot_split, settings, locations, last, planned));
    const bool same_split = info.fewshot_split == info.test_split || stored.fewshot_split == split;
    ASSAY_TRY(draw_shots(planned, settings, same_split));
  } else {
    planned.shots.resize(planned.doc_ids.size());
  }

  stored.name = info.name;
  stored.alias = info.alias;
  stored.group = info.group;
  stored.version = info.version;
  stored.info = task_info_to_json(info);
  stored.primary_metric = info.primary_metric;
  stored.higher_is_better = info.metrics.empty() || info.metrics.front().higher_is_better;
  stored.dataset = info.dataset;
  stored.subset = info.subset;
  stored.split = split;
  stored.data_source = evaluated.source;
  stored.data_sha256 = evaluated.sha256;
  stored.planned = static_cast<int64_t>(planned.doc_ids.size());
  return planned;
}

}  // namespace

Result<PlannedTask> plan_task(const Task& task, const RunSettings& settings, const DataLocations& locations) {
  LastSplit last;
  return plan_with(task, settings, locations, last);
}

Result<std::vector<PlannedTask>> plan_run(const Registry& registry, const RunSettings& settings,
                                          const DataLocations& locations) {
  ASSAY_ASSIGN(const auto tasks, registry.expand(settings.tasks));
  for (const auto& [name, doc_ids] : settings.samples) {
    const bool known =
        std::any_of(tasks.begin(), tasks.end(), [&](const Task* task) { return task->info().name == name; });
    if (!known) return invalid_argument(fmt::format("--samples names '{}', which --tasks does not run", name));
  }
  std::vector<PlannedTask> planned;
  LastSplit last;
  std::string dataset;
  for (const Task* task : tasks) {
    if (task->info().dataset != dataset) last.clear();
    dataset = task->info().dataset;
    ASSAY_ASSIGN(PlannedTask one, plan_with(*task, settings, locations, last));
    if (one.doc_ids.empty()) continue;
    planned.push_back(std::move(one));
  }
  if (planned.empty()) return invalid_argument("no samples are left to ask: --limit or --samples excludes them all");
  return planned;
}

std::string plan_digest(const RunSettings& settings, const EngineInfo& model, const std::vector<PlannedTask>& tasks) {
  Json json = Json::object();
  json.set("settings", settings.to_json());
  json.set("weights", model.weights_sha256).set("tokenizer", model.tokenizer_sha256);
  json.set("chat_template", model.chat_template_sha256).set("dtype", model.dtype);
  Json list = Json::array();
  for (const PlannedTask& task : tasks) {
    list.push_back(Json::object()
                       .set("name", task.stored.name)
                       .set("version", task.stored.version)
                       .set("data", task.stored.data_sha256)
                       .set("fewshot_data", task.stored.fewshot_data_sha256)
                       .set("planned", task.stored.planned));
    const std::string& definition = task.task->info().definition_sha256;
    if (!definition.empty()) list.as_array().back().set("definition", definition);
  }
  json.set("tasks", std::move(list));
  return sha256_hex(json.dump());
}

Result<Sample> sample_of(const PlannedTask& planned, size_t position) {
  Sample sample;
  sample.doc_id = planned.doc_ids[position];
  sample.document = planned.documents[static_cast<size_t>(sample.doc_id)];
  auto question = planned.task->ask_in(sample.document, planned.asked);
  if (!question.ok()) {
    return question.status().with_context(fmt::format("{} document {}", planned.task->info().name, sample.doc_id));
  }
  sample.question = std::move(*question);
  return sample;
}

Result<std::vector<Question>> shots_of(const PlannedTask& planned, size_t position) {
  std::vector<Question> shots;
  for (const int64_t row : planned.shots[position]) {
    auto shot = planned.task->ask_shot(planned.shot_pool[static_cast<size_t>(row)]);
    if (!shot.ok()) return shot.status().with_context(fmt::format("{} shot {}", planned.task->info().name, row));
    shots.push_back(std::move(*shot));
  }
  return shots;
}

Result<PromptTexts> prompt_of(const PlannedTask& planned, size_t position, const RunSettings& settings,
                              const ChatRenderer& chat) {
  ASSAY_ASSIGN(const Sample sample, sample_of(planned, position));
  ASSAY_ASSIGN(const std::vector<Question> shots, shots_of(planned, position));
  std::vector<const Question*> shot_pointers;
  for (const Question& shot : shots) shot_pointers.push_back(&shot);
  return build_prompt(planned.task->info(), sample.question, shot_pointers, settings.prompt, chat);
}

}  // namespace assay
