#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

#include "engine/base/text_util.h"
#include "evals/cli/run_session.h"
#include "evals/cli/suite_session.h"
#include "evals/run/forecast.h"
#include "reports/table.h"

namespace assay::cli {
namespace {

constexpr size_t kProbePromptTokens = 1024;
constexpr int kProbeSequences = 8, kProbeNewTokens = 8;
constexpr double kProgramBytes = 300e6;  // what the program takes besides weights and KV cache

// What a model computes here, measured by asking it a little of the plan.
struct Rates {
  double prompt_tokens_per_s = 0, new_tokens_per_s = 0;
};

struct ModelPlan {
  std::string model;
  EngineInfo info;
  Rates rates;
  double seconds = 0;
};

// As a run under these settings puts texts into tokens.
ModelWords words_of(const ModelClient& client, const RunSettings& settings) {
  const bool adds_bos = settings.prompt.profile == Profile::main;
  return {[&client, adds_bos](std::string_view text) {
            const std::string& bos = client.info().bos_text;
            return client.encode(text, adds_bos && (bos.empty() || !starts_with(text, bos)));
          },
          [&client](const std::vector<ChatMessage>& messages, const RenderOptions& options) {
            return client.render_chat(messages, options);
          }};
}

Status wait_for_all(ModelClient& client) {
  while (client.num_pending() > 0) {
    ASSAY_ASSIGN(const auto answers, client.wait());
    for (const Answer& answer : answers) {
      if (!answer.error.empty()) return internal_error(answer.error);
    }
  }
  return ok_status();
}

// Some tokens of the plan's own prompts.
Result<Tokens> probe_tokens(const ModelClient& client, const std::vector<PlannedTask>& tasks,
                            const RunSettings& settings) {
  const ModelWords words = words_of(client, settings);
  Tokens tokens;
  const size_t most = std::min<size_t>(kProbePromptTokens, static_cast<size_t>(client.info().max_model_len) / 2);
  for (const PlannedTask& task : tasks) {
    for (size_t i = 0; i < task.doc_ids.size() && i < 8 && tokens.size() < most; ++i) {
      ASSAY_ASSIGN(const PromptTexts texts, prompt_of(task, i, settings, words.chat));
      ASSAY_ASSIGN(const Tokens part,
                   words.encode(texts.contexts[0].empty() ? texts.continuations[0] : texts.contexts[0]));
      tokens.insert(tokens.end(), part.begin(), part.end());
    }
  }
  if (tokens.empty()) return invalid_argument("the plan holds no prompt to measure a rate with");
  if (tokens.size() > most) tokens.resize(most);
  return tokens;
}

Result<Rates> measure_rates(ModelClient& client, const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                            bool generates) {
  ASSAY_ASSIGN(Tokens tokens, probe_tokens(client, tasks, settings));
  // The first touch of weights and code is not the rate; other tokens, so that the cache helps nothing.
  Tokens first(tokens.rbegin(), tokens.rbegin() + static_cast<ptrdiff_t>(std::min<size_t>(tokens.size(), 64)));
  const TokenId next = tokens.back();
  ASSAY_TRY(client.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(std::move(first)), {next}}));
  ASSAY_TRY(wait_for_all(client));
  const auto prompt = std::make_shared<const Tokens>(std::move(tokens));
  Rates rates;
  const auto timed = [&]() -> Result<double> {
    const double before = client.stats().seconds_in_steps;
    ASSAY_TRY(wait_for_all(client));
    return client.stats().seconds_in_steps - before;
  };
  ASSAY_TRY(client.submit(LoglikelihoodRequest{prompt, {next}}));
  ASSAY_ASSIGN(const double prompt_seconds, timed());
  rates.prompt_tokens_per_s = static_cast<double>(prompt->size()) / std::max(prompt_seconds, 1e-9);
  if (!generates) return rates;
  SamplingParams sampling;
  sampling.max_tokens = kProbeNewTokens;
  sampling.ignore_eos = true;
  for (int i = 0; i < kProbeSequences; ++i) ASSAY_TRY(client.submit(GenerateRequest{prompt, sampling}));
  ASSAY_ASSIGN(const double new_seconds, timed());
  rates.new_tokens_per_s = kProbeSequences * kProbeNewTokens / std::max(new_seconds, 1e-9);
  return rates;
}

double seconds_for(const TaskForecast& task, const Rates& rates) {
  double seconds = static_cast<double>(task.tokens_computed) / rates.prompt_tokens_per_s;
  if (task.tokens_generated > 0) seconds += static_cast<double>(task.tokens_generated) / rates.new_tokens_per_s;
  return seconds;
}

// Leaves of one data set and group count as one row: 57 subjects are not 57 lines.
std::string row_name(const PlannedTask& task, const std::map<std::string, int>& grouped) {
  const StoredTask& stored = task.stored;
  return !stored.group.empty() && grouped.at(stored.dataset) > 1 ? stored.dataset : stored.name;
}

void add_to(TaskForecast& sum, const TaskForecast& part) {
  sum.items += part.items;
  sum.requests += part.requests;
  sum.tokens_asked += part.tokens_asked;
  sum.tokens_computed += part.tokens_computed;
  sum.tokens_generated += part.tokens_generated;
  sum.longest = std::max(sum.longest, part.longest);
  sum.truncated += part.truncated;
  sum.unaskable += part.unaskable;
  sum.label = part.label;
  sum.num_fewshot = part.num_fewshot;
  sum.kind = part.kind;
}

// Rows of a plan in order of asking.
struct PlanRows {
  std::vector<TaskForecast> rows;
  TaskForecast& named(const std::string& name) {
    for (TaskForecast& row : rows) {
      if (row.name == name) return row;
    }
    rows.emplace_back();
    rows.back().name = name;
    return rows.back();
  }
};

std::string millions(int64_t tokens) {
  return tokens < 100'000 ? with_thousands(tokens) : fmt::format("{:.2f} M", static_cast<double>(tokens) * 1e-6);
}

std::string minutes(double seconds) {
  return seconds < 60 ? fmt::format("{:.0f} s", seconds) : fmt::format("{:.1f} min", seconds / 60);
}

std::vector<std::string> plan_row(const TaskForecast& row, const std::vector<ModelPlan>& models) {
  const auto n = static_cast<double>(std::max<int64_t>(row.items, 1));
  std::vector<std::string> cells = {row.label.empty() ? row.name : fmt::format("{} [{}]", row.name, row.label),
                                    std::to_string(row.num_fewshot),
                                    with_thousands(row.items),
                                    millions(row.tokens_asked),
                                    millions(row.tokens_computed),
                                    row.tokens_generated ? "≤ " + millions(row.tokens_generated) : "",
                                    with_thousands(row.longest)};
  for (const ModelPlan& model : models) cells.push_back(minutes(seconds_for(row, model.rates)));
  cells.push_back(fmt::format("± {:.1f}", 98 / std::sqrt(n)));
  cells.push_back(fmt::format("± {:.1f}", 100 * 1.96 * std::sqrt(0.1 / n) / 0.5));
  return cells;
}

Table plan_table(const PlanRows& plan, const std::vector<ModelPlan>& models, const std::string& title) {
  Table table;
  table.title = title;
  table.columns = {{"task"},           {"shots", true},     {"items", true},  {"tokens asked", true},
                   {"computed", true}, {"generated", true}, {"longest", true}};
  for (const ModelPlan& model : models) table.columns.push_back({model.info.model_name, true});
  table.columns.push_back({"score", true});
  table.columns.push_back({"recovery", true});
  double total = 0;
  for (const TaskForecast& row : plan.rows) {
    table.rows.push_back(plan_row(row, models));
    if (row.truncated > 0)
      table.notes.push_back(fmt::format("warning: {}: {} prompts do not fit the context and would be cut", row.name,
                                        with_thousands(row.truncated)));
    if (row.unaskable > 0)
      table.notes.push_back(
          fmt::format("warning: {}: {} questions cannot be asked", row.name, with_thousands(row.unaskable)));
  }
  for (const ModelPlan& model : models) {
    total += model.seconds;
    const double bytes = static_cast<double>(model.info.checkpoint_bytes + model.info.kv_bytes) + kProgramBytes;
    table.notes.push_back(fmt::format(
        "{}: {} weights, {}, {:.2f} GB of memory at most; {:.0f} prompt tokens/s{} measured here", model.model,
        model.info.quantization, model.info.dtype, bytes * 1e-9, model.rates.prompt_tokens_per_s,
        model.rates.new_tokens_per_s > 0 ? fmt::format(", {:.0f} new tokens/s", model.rates.new_tokens_per_s) : ""));
  }
  table.notes.push_back(fmt::format("{} in all, model after model; nothing was run", minutes(total)));
  table.notes.push_back(
      "computed: every shared beginning once; score, recovery: 95 % half widths in points to be expected "
      "near 50 % with a tenth of the answers changed");
  return table;
}

Json plan_json(const PlanRows& plan, const std::vector<ModelPlan>& models) {
  Json tasks = Json::array(), list = Json::array();
  double total = 0;
  for (const TaskForecast& row : plan.rows) {
    const auto n = static_cast<double>(std::max<int64_t>(row.items, 1));
    tasks.push_back(Json::object()
                        .set("task", row.name)
                        .set("num_fewshot", row.num_fewshot)
                        .set("label", row.label)
                        .set("items", row.items)
                        .set("requests", row.requests)
                        .set("tokens_asked", row.tokens_asked)
                        .set("tokens_computed", row.tokens_computed)
                        .set("tokens_generated_at_most", row.tokens_generated)
                        .set("longest", row.longest)
                        .set("truncated", row.truncated)
                        .set("unaskable", row.unaskable)
                        .set("score_half_width", 0.98 / std::sqrt(n))
                        .set("recovery_half_width", 1.96 * std::sqrt(0.1 / n) / 0.5));
  }
  for (const ModelPlan& model : models) {
    total += model.seconds;
    list.push_back(Json::object()
                       .set("model", model.model)
                       .set("checkpoint_bytes", model.info.checkpoint_bytes)
                       .set("kv_bytes", model.info.kv_bytes)
                       .set("prompt_tokens_per_s", model.rates.prompt_tokens_per_s)
                       .set("new_tokens_per_s", model.rates.new_tokens_per_s)
                       .set("seconds", model.seconds));
  }
  return Json::object().set("plan", std::move(tasks)).set("models", std::move(list)).set("seconds", total);
}

Status forecast_parts(const SessionSpec& spec, const std::vector<std::vector<PlannedTask>>& tasks,
                      const ModelClient& client, PlanRows& plan) {
  for (size_t p = 0; p < spec.parts.size(); ++p) {
    const ModelWords words = words_of(client, spec.parts[p]);
    std::map<std::string, int> grouped;
    for (const PlannedTask& task : tasks[p]) ++grouped[task.stored.dataset];
    for (const PlannedTask& task : tasks[p]) {
      ASSAY_ASSIGN(const TaskForecast part, forecast_task(task, spec.parts[p], words, client.info()));
      add_to(plan.named(row_name(task, grouped)), part);
    }
  }
  return ok_status();
}

}  // namespace

Result<int> show_plan(const SessionSpec& spec, const RunOptions& given, const Globals& globals) {
  std::vector<std::vector<PlannedTask>> tasks;
  for (const RunSettings& part : spec.parts) {
    ASSAY_ASSIGN(auto planned, plan_run(registry(part.prompt.profile), part, DataLocations::from_environment()));
    tasks.push_back(std::move(planned));
  }
  PlanRows plan;
  std::vector<ModelPlan> models;
  for (const std::string& folder : spec.models) {
    RunOptions options = given;
    options.dtype = spec.dtype;
    ASSAY_ASSIGN(const EngineOptions engine, engine_options(options, folder));
    ASSAY_ASSIGN(auto client, open_model(engine));
    if (models.empty()) ASSAY_TRY(forecast_parts(spec, tasks, *client, plan));
    ModelPlan model{folder, client->info(), {}, 0};
    bool generates = false;
    for (const TaskForecast& row : plan.rows) generates |= row.tokens_generated > 0;
    ASSAY_ASSIGN(model.rates, measure_rates(*client, tasks[0], spec.parts[0], generates));
    for (const TaskForecast& row : plan.rows) model.seconds += seconds_for(row, model.rates);
    models.push_back(std::move(model));
  }
  if (globals.json) {
    std::printf("%s\n", plan_json(plan, models).dump().c_str());
  } else {
    const std::string title = spec.suite.empty() ? "plan" : fmt::format("plan of {}", spec.suite);
    std::fputs(print_terminal(plan_table(plan, models, title), globals.use_color()).c_str(), stdout);
  }
  return 0;
}

}  // namespace assay::cli
