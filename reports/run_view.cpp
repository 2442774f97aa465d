#include "reports/run_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace assay {
namespace {

// A run's leaves by name, each with its metrics already averaged.
struct Leaves {
  std::map<std::string, TaskView, std::less<>> views;
  std::vector<std::string> order;
};

// What the task says about a metric ("acc,none"); null when nothing.
const Json* stored_metric(const StoredTask& task, const std::string& key) {
  const Json* metrics = task.info.find("metric_list");
  if (!metrics || !metrics->is_array()) return nullptr;
  for (const Json& metric : metrics->as_array()) {
    const Json* name = metric.find("metric");
    if (name && name->is_string() && key.substr(0, key.find(',')) == name->as_string()) return &metric;
  }
  return nullptr;
}

bool is_share_of_one(const StoredTask& task, const std::string& key) {
  const Json* metric = stored_metric(task, key);
  return is_share(aggregation_of(task, key)) && !(metric && metric->find("share"));
}

Result<TaskView> view_task(Store& store, RunId run, const StoredTask& task) {
  TaskView view;
  view.name = task.name;
  view.alias = task.alias;
  view.label = task.split_label;
  view.num_fewshot = task.num_fewshot;
  view.version = task.version;
  view.planned = task.planned;
  ASSAY_ASSIGN(view.outcomes, store.outcomes(run, task.id));
  ASSAY_ASSIGN(const auto keys, store.metric_keys(run, task.id));
  for (const std::string& key : keys) {
    ASSAY_ASSIGN(const StoredScores scores, store.scores(run, task.id, key));
    const std::string aggregation = aggregation_of(task, key);
    const Estimate estimate = estimate_mean(linearized(scores.values, scores.weights, aggregation));
    view.metrics.push_back({key, estimate, key == task.primary_metric, is_share_of_one(task, key)});
  }
  return view;
}

const Estimate* find_metric(const TaskView& view, const std::string& key) {
  for (const MetricView& metric : view.metrics) {
    if (metric.key == key) return &metric.estimate;
  }
  return nullptr;
}

void add_outcomes(OutcomeCounts& sum, const OutcomeCounts& part) {
  sum.scored += part.scored;
  sum.no_answer += part.no_answer;
  sum.failed += part.failed;
  sum.skipped += part.skipped;
  sum.truncated += part.truncated;
}

TaskView view_group(const TaskGroup& group, const Registry& registry, const Leaves& leaves, int depth) {
  TaskView view;
  view.name = group.name;
  view.alias = group.alias;
  view.is_group = true;
  view.depth = depth;
  view.version = group.version;
  std::vector<Estimate> parts;
  for (const std::string& name : registry.leaves(group)) {
    const TaskView& leaf = leaves.views.find(name)->second;
    if (const Estimate* estimate = find_metric(leaf, group.metric)) parts.push_back(*estimate);
    add_outcomes(view.outcomes, leaf.outcomes);
    view.planned += leaf.planned;
    view.num_fewshot = leaf.num_fewshot;
    view.label = leaf.label;
  }
  view.metrics.push_back({group.metric, group.weight_by_size ? pool_by_size(parts) : pool_equally(parts), true});
  return view;
}

// Emits a group and all beneath it, marking what was emitted.
void emit_group(const TaskGroup& group, const Registry& registry, const Leaves& leaves, int depth,
                std::vector<std::string>& emitted, std::vector<TaskView>& out) {
  if (!group.is_tag) out.push_back(view_group(group, registry, leaves, depth));
  for (const std::string& child : group.children) {
    if (const TaskGroup* inner = registry.find_group(child)) {
      emit_group(*inner, registry, leaves, depth + 1, emitted, out);
      continue;
    }
    TaskView leaf = leaves.views.find(child)->second;
    leaf.depth = depth + 1;
    emitted.push_back(child);
    out.push_back(std::move(leaf));
  }
}

std::string percent(double value) { return fmt::format("{:.2f}", 100 * value); }

std::vector<std::string> table_row(const TaskView& view, const MetricView& metric) {
  const size_t comma = metric.key.find(',');
  const std::string name = std::string(static_cast<size_t>(view.depth) * 2, ' ') +
                           (view.is_group || view.depth == 0 ? view.name : view.alias);
  return {view.label.empty() ? name : fmt::format("{} [{}]", name, view.label),
          view.version,
          metric.key.substr(comma + 1),
          std::to_string(view.num_fewshot),
          metric.key.substr(0, comma) + (metric.primary ? "*" : ""),
          metric.share ? percent(metric.estimate.mean) : fmt::format("{:.4f}", metric.estimate.mean),
          metric.share ? fmt::format("± {:.2f}", 100 * metric.estimate.half_width95)
                       : fmt::format("± {:.4f}", metric.estimate.half_width95),
          std::to_string(view.outcomes.scored + view.outcomes.no_answer),
          std::to_string(view.outcomes.no_answer),
          std::to_string(view.planned - view.outcomes.scored - view.outcomes.no_answer)};
}

}  // namespace

std::string aggregation_of(const StoredTask& task, const std::string& key) {
  const Json* metric = stored_metric(task, key);
  const Json* aggregation = metric ? metric->find("aggregation") : nullptr;
  return aggregation && aggregation->is_string() ? aggregation->as_string() : "mean";
}

Result<RunView> view_run(Store& store, RunId id, const Registry& registry) {
  RunView view;
  ASSAY_ASSIGN(view.run, store.run(id));
  ASSAY_ASSIGN(view.findings, store.findings(id));
  Leaves leaves;
  for (const StoredTask& task : view.run.tasks) {
    ASSAY_ASSIGN(TaskView leaf, view_task(store, id, task));
    leaves.order.push_back(task.name);
    leaves.views.emplace(task.name, std::move(leaf));
  }
  std::vector<std::string> emitted;
  const auto groups = registry.complete_groups(leaves.order);
  for (const std::string& name : leaves.order) {
    if (std::find(emitted.begin(), emitted.end(), name) != emitted.end()) continue;
    const auto outermost = std::find_if(groups.begin(), groups.end(), [&](const TaskGroup* group) {
      const auto members = registry.leaves(*group);
      return std::find(members.begin(), members.end(), name) != members.end();
    });
    if (outermost != groups.end()) {
      emit_group(**outermost, registry, leaves, 0, emitted, view.tasks);
    } else {
      view.tasks.push_back(leaves.views.find(name)->second);
    }
  }
  return view;
}

Table run_table(const RunView& view) {
  const StoredRun& run = view.run;
  Table table;
  table.title = fmt::format("run {}: {} ({}, {}, {})", run.id, run.model.model_name, run.model.quantization,
                            run.model.dtype, run.model.backend);
  table.columns = {{"task"},          {"version", true}, {"filter"},      {"shots", true},     {"metric"},
                   {"value %", true}, {"95 %", true},    {"items", true}, {"no answer", true}, {"missing", true}};
  for (const TaskView& task : view.tasks) {
    for (const MetricView& metric : task.metrics) table.rows.push_back(table_row(task, metric));
  }
  for (std::string& note : finding_notes(view.findings, "", StoredFinding::Severity::info))
    table.notes.push_back(std::move(note));
  if (run.state != RunState::finished) table.notes.push_back("unfinished: `assay resume` goes on where it stopped");
  table.notes.push_back(fmt::format("weights sha256 {}", run.model.weights_sha256));
  table.notes.push_back(fmt::format("plan sha256 {}", run.plan_sha256));
  table.notes.push_back(run.command);
  return table;
}

std::vector<std::string> finding_notes(const std::vector<StoredFinding>& findings, const std::string& role,
                                       StoredFinding::Severity least) {
  std::vector<std::string> notes;
  for (const StoredFinding& finding : findings) {
    if (finding.severity < least) continue;
    const std::string where = finding.scope.empty() ? "" : finding.scope + ": ";
    const std::string_view word =
        finding.severity == StoredFinding::Severity::info ? "note" : severity_name(finding.severity);
    notes.push_back(fmt::format("{}: {}{}{}", word, role, where, finding.text));
  }
  return notes;
}

Json findings_json(const std::vector<StoredFinding>& findings) {
  Json list = Json::array();
  for (const StoredFinding& finding : findings) {
    list.push_back(Json::object()
                       .set("task", finding.scope)
                       .set("code", finding.code)
                       .set("severity", severity_name(finding.severity))
                       .set("affected", finding.affected)
                       .set("total", finding.total)
                       .set("text", finding.text));
  }
  return list;
}

Json run_json(const RunView& view) {
  const StoredRun& run = view.run;
  Json tasks = Json::object();
  for (const TaskView& task : view.tasks) {
    Json entry = Json::object();
    for (const MetricView& metric : task.metrics) {
      const size_t comma = metric.key.find(',');
      entry.set(metric.key, metric.estimate.mean);
      entry.set(metric.key.substr(0, comma) + "_stderr" + metric.key.substr(comma), metric.estimate.standard_error);
    }
    entry.set("num_fewshot", task.num_fewshot).set("planned", task.planned);
    entry.set("scored", task.outcomes.scored)
        .set("no_answer", task.outcomes.no_answer)
        .set("failed", task.outcomes.failed);
    entry.set("truncated", task.outcomes.truncated)
        .set("label", task.label)
        .set("version", task.version)
        .set("group", task.is_group);
    tasks.set(task.name, std::move(entry));
  }
  Json json = Json::object();
  json.set("run", run.id).set("finished", run.state == RunState::finished);
  json.set("model", run.model.model_name).set("quantization", run.model.quantization).set("dtype", run.model.dtype);
  json.set("backend", run.model.backend)
      .set("plan_sha256", run.plan_sha256)
      .set("weights_sha256", run.model.weights_sha256);
  json.set("tasks", std::move(tasks));
  json.set("tokens_asked", run.tokens_asked).set("tokens_computed", run.tokens_computed).set("seconds", run.seconds);
  json.set("tokens_per_s", run.seconds > 0 ? static_cast<double>(run.tokens_computed) / run.seconds : 0.0);
  json.set("command", run.command);
  json.set("findings", findings_json(view.findings));
  return json;
}

}  // namespace assay
