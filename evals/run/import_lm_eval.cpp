#include "evals/run/import_lm_eval.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "evals/run/findings.h"
#include "evals/stats/estimate.h"

namespace assay {
namespace {

constexpr size_t kItemsPerTransaction = 1000;
constexpr double kMeanTolerance = 1e-9;

// A member's text, "" where it is missing or null.
std::string text_at(const Json& json, std::string_view key) {
  const Json* value = json.find(key);
  if (!value || value->is_null()) return "";
  return value->is_string() ? value->as_string() : value->dump();
}

int64_t int_at(const Json& json, std::string_view key, int64_t other) {
  const Json* value = json.find(key);
  if (!value) return other;
  if (value->is_int()) return value->as_int();
  return value->is_string() ? parse_int(value->as_string()).value_or(other) : other;
}

const Json& object_at(const Json& json, std::string_view key) {
  static const Json kEmpty = Json::object();
  const Json* value = json.find(key);
  return value && value->is_object() ? *value : kEmpty;
}

// pretrained=NAME of "pretrained=NAME,dtype=..." or of an object; newer files hold either.
std::string model_arg(const Json& config, std::string_view name) {
  const Json* arguments = config.find("model_args");
  if (!arguments) return "";
  if (arguments->is_object()) return text_at(*arguments, name);
  if (!arguments->is_string()) return "";
  for (const std::string& part : split_any(arguments->as_string(), ",")) {
    if (starts_with(part, std::string(name) + "=")) return part.substr(name.size() + 1);
  }
  return "";
}

std::string plain_dtype(std::string dtype) { return starts_with(dtype, "torch.") ? dtype.substr(6) : dtype; }

EngineInfo model_of(const Json& root) {
  const Json& config = object_at(root, "config");
  EngineInfo info;
  info.model_path = model_arg(config, "pretrained");
  info.model_name = text_at(root, "model_name");
  if (info.model_name.empty()) info.model_name = info.model_path.empty() ? text_at(config, "model") : info.model_path;
  while (info.model_name.size() > 1 && ends_with(info.model_name, "/")) info.model_name.pop_back();
  if (starts_with(info.model_name, "/") || starts_with(info.model_name, "."))
    info.model_name = Path(info.model_name).filename().string();
  info.quantization = "none";
  info.backend = text_at(config, "model");
  info.backend_detail = fmt::format("lm-eval {}", text_at(root, "lm_eval_version"));
  info.dtype = plain_dtype(text_at(config, "model_dtype"));
  if (info.dtype.empty()) info.dtype = model_arg(config, "dtype");
  info.num_parameters = int_at(config, "model_num_parameters", 0);
  info.weights_sha256 = text_at(config, "model_sha");
  info.max_model_len = static_cast<int>(std::clamp<int64_t>(int_at(root, "max_length", 0), 0, INT32_MAX));
  info.has_chat_template = !text_at(root, "chat_template").empty();
  info.chat_template = text_at(root, "chat_template");
  info.chat_template_sha256 = text_at(root, "chat_template_sha");
  // An export of ours says what lm-eval has no words for.
  const Json& ours = object_at(root, "assay");
  if (const std::string quantization = text_at(ours, "quantization"); !quantization.empty())
    info.quantization = quantization;
  if (const std::string digest = text_at(ours, "weights_sha256"); !digest.empty()) info.weights_sha256 = digest;
  return info;
}

// What lm-eval's files say about how was asked; what they do not say is left out.
Json settings_of(const Json& root, const std::vector<std::string>& tasks) {
  const Json& config = object_at(root, "config");
  Json names = Json::array();
  for (const std::string& task : tasks) names.push_back(task);
  Json settings = Json::object();
  settings.set("tasks", std::move(names));
  settings.set("imported", fmt::format("lm-eval {}", text_at(root, "lm_eval_version")));
  settings.set("apply_chat_template", !text_at(root, "chat_template").empty());
  const Json* multiturn = root.find("fewshot_as_multiturn");
  const bool turns = multiturn && multiturn->is_bool() && multiturn->as_bool();
  // Without a template the flag changes nothing, and versions differ in what they write.
  settings.set("fewshot_as_multiturn", turns && !text_at(root, "chat_template").empty());
  settings.set("system_instruction", text_at(root, "system_instruction"));
  const Json* gen_kwargs = config.find("gen_kwargs");
  settings.set("gen_kwargs", gen_kwargs && gen_kwargs->is_object() ? *gen_kwargs : Json::object());
  settings.set("fewshot_seed", int_at(config, "fewshot_seed", 1234));
  settings.set("limit", text_at(config, "limit"));
  return settings;
}

std::string model_args_text(const Json& config) {
  const Json* arguments = config.find("model_args");
  if (!arguments || !arguments->is_object()) return text_at(config, "model_args");
  std::vector<std::string> parts;
  for (const auto& [name, value] : arguments->as_object())
    parts.push_back(name + "=" + (value.is_string() ? value.as_string() : value.dump()));
  return join(parts, ",");
}

std::string command_of(const Json& root, const std::vector<std::string>& tasks) {
  const Json& config = object_at(root, "config");
  std::string command = fmt::format("lm_eval --model {} --model_args {} --tasks {}", text_at(config, "model"),
                                    model_args_text(config), join(tasks, ","));
  if (const std::string limit = text_at(config, "limit"); !limit.empty()) command += " --limit " + limit;
  if (!text_at(root, "chat_template").empty()) command += " --apply_chat_template";
  return command;
}

std::string eval_split(const Json& config) {
  const std::string test = text_at(config, "test_split");
  return test.empty() ? text_at(config, "validation_split") : test;
}

// The metric that tables show: the task's own where the program knows it, else the first that the items have.
std::string primary_of(const std::string& task, const std::vector<StoredItem>& items, const Registry& registry) {
  std::vector<std::string> keys;
  for (const MetricValue& metric : items.front().score.metrics) keys.push_back(metric.name + "," + metric.filter);
  if (const Task* known = registry.find_task(task)) {
    const std::string& primary = known->info().primary_metric;
    if (std::find(keys.begin(), keys.end(), primary) != keys.end()) return primary;
  }
  for (const std::string_view wanted : {"acc_norm,none", "acc,none"}) {
    if (std::find(keys.begin(), keys.end(), wanted) != keys.end()) return std::string(wanted);
  }
  return keys.empty() ? "" : keys.front();
}

StoredTask task_of(const Json& root, const std::string& name, const std::vector<StoredItem>& items,
                   const Registry& registry) {
  const Json& config = object_at(object_at(root, "configs"), name);
  StoredTask task;
  task.name = name;
  task.alias = text_at(object_at(object_at(root, "results"), name), "alias");
  const size_t letter = task.alias.find_first_not_of(" -");
  task.alias = letter == std::string::npos ? name : task.alias.substr(letter);
  task.version = text_at(object_at(root, "versions"), name);
  task.info = config;
  task.primary_metric = primary_of(name, items, registry);
  const Json& better = object_at(object_at(root, "higher_is_better"), name);
  const Json* higher = better.find(task.primary_metric.substr(0, task.primary_metric.find(',')));
  task.higher_is_better = !higher || !higher->is_bool() || higher->as_bool();
  task.num_fewshot = static_cast<int>(int_at(object_at(root, "n-shot"), name, int_at(config, "num_fewshot", 0)));
  task.dataset = text_at(config, "dataset_path");
  task.subset = text_at(config, "dataset_name");
  task.split = eval_split(config);
  task.fewshot_split = text_at(config, "fewshot_split");
  if (const Task* known = registry.find_task(name)) {
    task.group = known->info().group;
    task.dataset = known->info().dataset;
    task.subset = known->info().subset;
  }
  const Json& counts = object_at(object_at(root, "n-samples"), name);
  const auto count = static_cast<int64_t>(items.size());
  task.rows = std::max(int_at(counts, "original", count), count);
  task.planned = count;
  return task;
}

// Whether the results file's figure is a plain mean of the samples' values.
bool is_mean(const Json& root, const std::string& task, const std::string& key) {
  const Json* metrics = object_at(object_at(root, "configs"), task).find("metric_list");
  if (!metrics || !metrics->is_array()) return true;
  for (const Json& metric : metrics->as_array()) {
    if (text_at(metric, "metric") == key.substr(0, key.find(','))) {
      const std::string aggregation = text_at(metric, "aggregation");
      return aggregation.empty() || aggregation == "mean";
    }
  }
  return true;
}

// Compares the means of what was read with those the results file states.
void check_means(const Json& root, const std::string& task, const std::vector<StoredItem>& items,
                 std::vector<std::string>& warnings) {
  const Json& stated = object_at(object_at(root, "results"), task);
  std::map<std::string, std::vector<double>> values;
  for (const StoredItem& item : items) {
    for (const MetricValue& metric : item.score.metrics)
      values[metric.name + "," + metric.filter].push_back(metric.value);
  }
  for (const auto& [key, list] : values) {
    const Json* value = stated.find(key);
    if (!value || !value->is_number() || !is_mean(root, task, key)) continue;
    const double mean = estimate_mean(list).mean;
    if (std::abs(mean - value->as_real()) <= kMeanTolerance) continue;
    warnings.push_back(
        fmt::format("{}: the samples' mean {} is {}, the results file says {}", task, key, mean, value->as_real()));
  }
}

struct ReadTask {
  StoredTask task;
  LmEvalItems read;
};

Result<std::vector<ReadTask>> read_tasks(const Json& root, const LmEvalRunFiles& files, const Registry& registry,
                                         std::vector<std::string>& warnings) {
  std::vector<ReadTask> tasks;
  for (const auto& [name, config] : object_at(root, "configs").as_object()) {
    const auto found = std::find_if(files.samples.begin(), files.samples.end(),
                                    [&task = name](const auto& entry) { return entry.first == task; });
    if (found == files.samples.end()) {
      warnings.push_back(fmt::format("{}: no samples file (lm_eval writes one with --log_samples), left out", name));
      continue;
    }
    ReadTask task;
    ASSAY_ASSIGN(task.read, read_lm_eval_samples(found->second));
    if (task.read.items.empty()) continue;
    task.task = task_of(root, name, task.read.items, registry);
    check_means(root, name, task.read.items, warnings);
    tasks.push_back(std::move(task));
  }
  if (tasks.empty())
    return not_found(
        fmt::format("{}: none of its tasks has a samples_<task>_<time>.jsonl beside it; run lm_eval with "
                    "--log_samples",
                    files.results.string()));
  return tasks;
}

Result<std::optional<RunId>> imported_before(Store& store, const std::string& digest) {
  ASSAY_ASSIGN(const auto runs, store.runs());
  for (const StoredRun& run : runs) {
    if (run.plan_sha256 == digest && run.state == RunState::finished) return std::optional<RunId>(run.id);
  }
  return std::optional<RunId>();
}

Status store_items(Store& store, const StoredRun& run, const std::vector<ReadTask>& tasks) {
  for (size_t t = 0; t < tasks.size(); ++t) {
    const auto& items = tasks[t].read.items;
    for (size_t begin = 0; begin < items.size(); begin += kItemsPerTransaction) {
      const auto end = std::min(items.size(), begin + kItemsPerTransaction);
      const std::vector<StoredItem> part(items.begin() + static_cast<ptrdiff_t>(begin),
                                         items.begin() + static_cast<ptrdiff_t>(end));
      ASSAY_TRY(store.add_items(run.id, run.tasks[t].id, part));
    }
  }
  return ok_status();
}

Status note_findings(Store& store, const StoredRun& run, const ImportedRun& imported) {
  ASSAY_ASSIGN(auto findings, findings_of(store, run));
  findings.push_back({"", "imported", StoredFinding::Severity::info, imported.items, imported.items,
                      fmt::format("imported from {}; {} document hashes match their text, {} do not",
                                  run.model.backend_detail, imported.matched_hashes, imported.mismatched_hashes)});
  for (const std::string& warning : imported.warnings)
    findings.push_back({"", "imported", StoredFinding::Severity::warning, 0, 0, warning});
  return store.replace_findings(run.id, findings);
}

}  // namespace

Result<ImportedRun> import_lm_eval(Store& store, const LmEvalRunFiles& files, const Registry& registry) {
  ASSAY_ASSIGN(const std::string text, real_files().read(files.results));
  ASSAY_ASSIGN(const Json root, Json::parse(text, files.results.string()));
  const JsonField fields(root, files.results.string());
  for (const char* key : {"results", "configs"}) {
    ASSAY_ASSIGN(const JsonField field, fields.get(key));
    ASSAY_TRY(field.members());
  }
  ImportedRun imported;
  StoredRun run;
  run.model = model_of(root);
  imported.model = run.model.model_name;
  run.plan_sha256 = sha256_hex(text);
  ASSAY_ASSIGN(const auto before, imported_before(store, run.plan_sha256));
  if (before) {
    imported.run = *before;
    imported.was_here = true;
    return imported;
  }
  ASSAY_ASSIGN(const auto tasks, read_tasks(root, files, registry, imported.warnings));
  std::vector<std::string> names;
  for (const ReadTask& task : tasks) {
    names.push_back(task.task.name);
    run.tasks.push_back(task.task);
    imported.items += static_cast<int64_t>(task.read.items.size());
    imported.matched_hashes += task.read.matched_hashes;
    imported.mismatched_hashes += task.read.mismatched_hashes;
  }
  imported.tasks = static_cast<int64_t>(tasks.size());
  run.settings = settings_of(root, names);
  run.command = command_of(root, names);
  run.build = fmt::format("lm-eval {} {}", text_at(root, "lm_eval_version"), text_at(root, "git_hash"));
  run.machine = Json::object().set("environment", text_at(root, "pretty_env_info"));
  const Json* date = root.find("date");
  const double seconds = date && date->is_number() ? date->as_real() : 0;
  run.created_utc_us = std::isfinite(seconds) && std::abs(seconds) < 1e11 ? static_cast<int64_t>(seconds * 1e6) : 0;
  run.seconds = parse_double(text_at(root, "total_evaluation_time_seconds")).value_or(0);
  ASSAY_ASSIGN(imported.run, store.create_run(run));
  ASSAY_ASSIGN(const StoredRun stored, store.run(imported.run));
  ASSAY_TRY(store_items(store, stored, tasks));
  ASSAY_TRY(note_findings(store, stored, imported));
  ASSAY_TRY(store.finish_run(imported.run, run.created_utc_us));
  return imported;
}

}  // namespace assay
