#include "reports/export_lm_eval.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/clock.h"
#include "engine/base/hash.h"
#include "engine/base/text_util.h"
#include "reports/run_view.h"

namespace assay {
namespace {

// lm-eval's file names carry the run's time with ':' replaced.
std::string file_time(int64_t utc_us) {
  std::string text = format_utc(utc_us);
  if (!text.empty() && text.back() == 'Z') text.pop_back();
  return replace_all(text, ":", "-");
}

// str() of what lm-eval puts in resps for a scored choice.
Json scored_pair(const Loglikelihood& answer) {
  return Json(Json::Array{Json(py_float_repr(answer.sum)), Json(answer.is_greedy ? "True" : "False")});
}

// How a task asks, as far as the files differ by it.
struct Asked {
  bool generates = false, rolls = false;
  Json generation;  // generation_kwargs
};

Json arguments_of(const StoredItem& item, const Asked& asked) {
  Json arguments = Json::object();
  for (size_t i = 0; i < item.requests.size(); ++i) {
    Json pair = Json::object();
    pair.set("arg_0", item.requests[i].context);
    if (!asked.rolls) pair.set("arg_1", asked.generates ? asked.generation : Json(item.requests[i].continuation));
    arguments.set(fmt::format("gen_args_{}", i), std::move(pair));
  }
  return arguments;
}

// A rolled text's windows are one number to lm-eval.
Json windows_sum(const StoredItem& item) {
  double sum = 0;
  for (const Loglikelihood& window : item.response.loglikelihoods) sum += window.sum;
  return Json(py_float_repr(sum));
}

// One element a request, each a list of that request's responses.
Json responses_of(const StoredItem& item, const Asked& asked) {
  Json resps = Json::array();
  if (asked.rolls) return resps.push_back(Json(Json::Array{windows_sum(item)}));
  for (const Loglikelihood& answer : item.response.loglikelihoods)
    resps.push_back(Json(Json::Array{scored_pair(answer)}));
  if (!item.response.completions.empty()) {
    Json texts = Json::array();
    for (const Completion& completion : item.response.completions) texts.push_back(completion.text);
    resps.push_back(std::move(texts));
  }
  return resps;
}

std::string extracted_by(const StoredItem& item, const std::string& filter) {
  for (const Extracted& extracted : item.score.extracted) {
    if (extracted.filter == filter) return extracted.text;
  }
  return item.response.completions.empty() ? std::string() : item.response.completions[0].text;
}

std::vector<std::string> filters_of(const StoredItem& item) {
  std::vector<std::string> filters;
  for (const MetricValue& metric : item.score.metrics) {
    if (std::find(filters.begin(), filters.end(), metric.filter) == filters.end()) filters.push_back(metric.filter);
  }
  if (filters.empty()) filters.push_back("none");
  return filters;
}

// A weighted metric is a pair to lm-eval.
Json metric_value(const MetricValue& metric) {
  if (metric.weight == 0) return Json(metric.value);
  return Json(Json::Array{Json(metric.value), Json(static_cast<int64_t>(metric.weight))});
}

Json sample_line(const StoredItem& item, const std::string& filter, const Asked& asked) {
  Json line = Json::object();
  line.set("doc_id", item.doc_id).set("doc", item.document).set("target", item.target);
  line.set("arguments", arguments_of(item, asked)).set("resps", responses_of(item, asked));
  Json filtered = Json::array();
  if (asked.rolls) filtered.push_back(windows_sum(item));
  for (const Loglikelihood& answer : item.response.loglikelihoods) {
    if (!asked.rolls) filtered.push_back(scored_pair(answer));
  }
  if (asked.generates) filtered.push_back(extracted_by(item, filter));
  line.set("filtered_resps", std::move(filtered)).set("filter", filter);
  Json names = Json::array();
  for (const MetricValue& metric : item.score.metrics) {
    if (metric.filter == filter) names.push_back(metric.name);
  }
  line.set("metrics", std::move(names));
  line.set("doc_hash", document_hash(item.document));
  line.set("prompt_hash", sha256_hex(item.requests.empty() ? std::string() : item.requests[0].context));
  line.set("target_hash", sha256_hex(item.target));
  for (const MetricValue& metric : item.score.metrics) {
    if (metric.filter == filter) line.set(metric.name, metric_value(metric));
  }
  line.set("outcome", outcome_name(item.score.outcome));
  return line;
}

Status write_samples(Store& store, RunId run, const StoredTask& task, const Path& path) {
  const Json* generation = task.info.find("generation_kwargs");
  const Json* type = task.info.find("output_type");
  const std::string kind = type && type->is_string() ? type->as_string() : "";
  const Asked asked = {.generates = kind == "generate_until",
                       .rolls = kind == "loglikelihood_rolling",
                       .generation = generation ? *generation : Json::object()};
  ASSAY_ASSIGN(auto writer, AtomicFileWriter::create(path));
  ASSAY_TRY(store.for_each_item(run, task.id, [&](const StoredItem& item) -> Status {
    for (const std::string& filter : filters_of(item)) {
      const Json line = sample_line(item, filter, asked);
      JsonStyle style;
      style.python_separators = true;
      ASSAY_TRY(writer.write(line.dump(style) + "\n"));
    }
    return ok_status();
  }));
  return writer.commit();
}

// "alias", then each metric and its standard error, as lm-eval's results hold them.
Json result_of(const TaskView& task) {
  Json entry = Json::object();
  entry.set("alias",
            task.depth > 0 ? std::string(static_cast<size_t>(task.depth), ' ') + "- " + task.alias : task.alias);
  if (!task.is_group) entry.set("sample_len", task.outcomes.scored + task.outcomes.no_answer);
  for (const MetricView& metric : task.metrics) {
    const size_t comma = metric.key.find(',');
    entry.set(metric.key, metric.estimate.mean);
    // lm-eval has no standard error for weighted means.
    const bool known = metric.share || metric.key.substr(0, comma) == "perplexity";
    entry.set(metric.key.substr(0, comma) + "_stderr" + metric.key.substr(comma),
              known ? Json(metric.estimate.standard_error) : Json("N/A"));
  }
  return entry;
}

Json config_of(const StoredRun& run) {
  const Json* seed = run.settings.find("fewshot_seed");
  const Json* limit = run.settings.find("limit");
  const Json* gen_kwargs = run.settings.find("gen_kwargs");
  return Json::object()
      .set("model", "assay")
      .set("model_args", fmt::format("pretrained={},dtype={}", run.model.model_name, run.model.dtype))
      .set("model_num_parameters", run.model.num_parameters)
      .set("model_dtype", run.model.dtype)
      .set("model_revision", "")
      .set("model_sha", run.model.weights_sha256)
      .set("batch_size", "auto")
      .set("batch_sizes", Json::array())
      .set("device", run.model.backend)
      .set("use_cache", Json())
      .set("limit", limit ? *limit : Json())
      .set("bootstrap_iters", 0)
      .set("gen_kwargs", gen_kwargs ? *gen_kwargs : Json())
      .set("random_seed", 0)
      .set("numpy_seed", 1234)
      .set("torch_seed", 1234)
      .set("fewshot_seed", seed ? *seed : Json(1234));
}

Json results_json(const RunView& view, const Registry& registry) {
  const StoredRun& run = view.run;
  Json results = Json::object(), groups = Json::object(), subtasks = Json::object(), configs = Json::object(),
       versions = Json::object();
  Json shots = Json::object(), higher = Json::object(), counts = Json::object();
  for (const TaskView& task : view.tasks) {
    results.set(task.name, result_of(task));
    versions.set(task.name, parse_double(task.version) ? Json(*parse_double(task.version)) : Json(task.version));
    if (task.is_group) {
      groups.set(task.name, result_of(task));
      Json children = Json::array();
      for (const std::string& child : registry.find_group(task.name)->children) children.push_back(child);
      subtasks.set(task.name, std::move(children));
      continue;
    }
    shots.set(task.name, task.num_fewshot);
  }
  for (const StoredTask& task : run.tasks) {
    configs.set(task.name, task.info);
    Json better = Json::object();
    const size_t comma = task.primary_metric.find(',');
    better.set(task.primary_metric.substr(0, comma), task.higher_is_better);
    higher.set(task.name, std::move(better));
    counts.set(task.name, Json::object().set("original", task.rows).set("effective", task.planned));
  }
  Json json = Json::object();
  json.set("results", std::move(results));
  if (groups.size() > 0) json.set("groups", std::move(groups));
  json.set("group_subtasks", std::move(subtasks))
      .set("configs", std::move(configs))
      .set("versions", std::move(versions));
  json.set("n-shot", std::move(shots)).set("higher_is_better", std::move(higher)).set("n-samples", std::move(counts));
  json.set("config", config_of(run));
  json.set("git_hash", Json())
      .set("date", static_cast<double>(run.created_utc_us) * 1e-6)
      .set("pretty_env_info", run.machine.dump());
  json.set("transformers_version", Json()).set("lm_eval_version", Json());
  json.set("tokenizer_pad_token", Json(Json::Array{Json(run.model.pad_text), Json()}));
  json.set("tokenizer_eos_token",
           Json(Json::Array{Json(run.model.eos_text),
                            run.model.eos_tokens.empty() ? Json() : Json(int64_t{run.model.eos_tokens[0]})}));
  json.set(
      "tokenizer_bos_token",
      Json(Json::Array{Json(run.model.bos_text), run.model.bos_token ? Json(int64_t{*run.model.bos_token}) : Json()}));
  json.set("eot_token_id", run.model.eos_tokens.empty() ? Json() : Json(int64_t{run.model.eos_tokens[0]}));
  json.set("max_length", run.model.max_model_len);
  json.set("model_source", "assay").set("model_name", run.model.model_name);
  json.set("model_name_sanitized", replace_all(run.model.model_name, "/", "__"));
  const Json* system = run.settings.find("system_instruction");
  const Json* multiturn = run.settings.find("fewshot_as_multiturn");
  const Json* chat = run.settings.find("apply_chat_template");
  const bool templated = chat && chat->is_bool() && chat->as_bool();
  json.set("system_instruction", system ? *system : Json())
      .set("fewshot_as_multiturn", multiturn ? *multiturn : Json(false));
  json.set("chat_template", templated ? Json(run.model.chat_template) : Json());
  json.set("chat_template_sha", templated ? Json(run.model.chat_template_sha256) : Json());
  json.set("total_evaluation_time_seconds", py_float_repr(run.seconds));
  json.set("assay", run_json(view));
  return json;
}

}  // namespace

Result<std::vector<Path>> export_lm_eval(Store& store, RunId id, const Registry& registry, const Path& folder,
                                         bool log_samples) {
  ASSAY_ASSIGN(const RunView view, view_run(store, id, registry));
  const std::string time = file_time(view.run.created_utc_us);
  const Path target = folder / replace_all(view.run.model.model_name, "/", "__");
  ASSAY_TRY(real_files().create_directories(target));
  std::vector<Path> written;
  if (log_samples) {
    for (const StoredTask& task : view.run.tasks) {
      written.push_back(target / fmt::format("samples_{}_{}.jsonl", task.name, time));
      ASSAY_TRY(write_samples(store, id, task, written.back()));
    }
  }
  JsonStyle style;
  style.indent = 2;
  written.push_back(target / fmt::format("results_{}.json", time));
  ASSAY_TRY(real_files().write_atomic(written.back(), results_json(view, registry).dump(style) + "\n"));
  return written;
}

}  // namespace assay
