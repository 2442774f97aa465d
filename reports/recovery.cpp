#include "reports/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <unordered_map>

#include "engine/base/text_util.h"
#include "reports/run_view.h"

namespace assay {
namespace {

constexpr size_t kNone = SIZE_MAX;

// One task of both runs.
struct CommonTask {
  const StoredTask* baseline;
  const StoredTask* candidate;
};

// What one row of the table is made of.
struct RowScores {
  RecoveryRow row;
  PairedScores scores;
};

// Differences that make the two answers not the same question, and those that are only worth saying.
struct Differences {
  std::vector<std::string> serious, minor;
};

bool is_imported(const StoredRun& run) { return run.settings.find("imported") != nullptr; }

void compare_setting(const StoredRun& a, const StoredRun& b, std::string_view key, Differences& out) {
  const Json* left = a.settings.find(key);
  const Json* right = b.settings.find(key);
  if (left && right && *left == *right) return;
  if (!left || !right) {
    if (is_imported(a) || is_imported(b)) return;  // lm-eval's files do not say
  }
  out.serious.push_back(
      fmt::format("{} {} against {}", key, left ? left->dump() : "none", right ? right->dump() : "none"));
}

Differences differences_of(const StoredRun& a, const StoredRun& b, const std::vector<CommonTask>& tasks) {
  Differences out;
  for (const std::string_view key : {"apply_chat_template", "fewshot_as_multiturn", "system_instruction", "gen_kwargs",
                                     "max_length", "fewshot_seed", "profile", "now_utc"}) {
    compare_setting(a, b, key, out);
  }
  const bool imported = is_imported(a) || is_imported(b);
  if (imported) out.minor.push_back("a run was imported: what lm-eval's files leave out was not compared");
  if (!imported && a.model.tokenizer_sha256 != b.model.tokenizer_sha256)
    out.minor.push_back("the tokenizer files differ");
  const Json* chat = a.settings.find("apply_chat_template");
  const bool templated = !imported || (chat && chat->is_bool() && chat->as_bool());
  if (templated && a.model.chat_template_sha256 != b.model.chat_template_sha256)
    out.minor.push_back("the chat templates differ");
  if (a.model.dtype != b.model.dtype)
    out.minor.push_back(fmt::format("dtype {} against {}", a.model.dtype, b.model.dtype));
  if (a.model.backend != b.model.backend)
    out.minor.push_back(fmt::format("backend {} against {}", a.model.backend, b.model.backend));
  for (const CommonTask& task : tasks) {
    const StoredTask &x = *task.baseline, &y = *task.candidate;
    if (x.version != y.version)
      out.serious.push_back(fmt::format("{}: version {} against {}", x.name, x.version, y.version));
    if (x.num_fewshot != y.num_fewshot)
      out.serious.push_back(fmt::format("{}: {} shots against {}", x.name, x.num_fewshot, y.num_fewshot));
    if (x.split != y.split) out.serious.push_back(fmt::format("{}: split {} against {}", x.name, x.split, y.split));
    if (!imported && x.fewshot_data_sha256 != y.fewshot_data_sha256)
      out.serious.push_back(x.name + ": the shots come from different data");
  }
  if (a.state != RunState::finished || b.state != RunState::finished)
    out.minor.push_back("a run is unfinished: only samples answered by both count");
  return out;
}

// A metric of the samples that both runs answered.
struct WeightedValues {
  std::vector<double> values, weights;
  void add(double value, double weight) {
    values.push_back(value);
    weights.push_back(weight);
  }
  void append_to(std::vector<double>& out, const std::string& aggregation) const {
    for (const double value : linearized(values, weights, aggregation)) out.push_back(value);
  }
};

// Of two perplexities the lower is better, so the ratio that says what was recovered is the other way round.
PairedComparison compare_lower_is_better(const PairedScores& scores) {
  PairedComparison comparison = compare_paired(scores);
  const PairedComparison turned = compare_paired({scores.candidate, scores.baseline, scores.stratum});
  comparison.recovery = turned.recovery;
  comparison.recovery_low = turned.recovery_low;
  comparison.recovery_high = turned.recovery_high;
  comparison.recovery_bounded = turned.recovery_bounded;
  comparison.lost = comparison.gained = 0;
  return comparison;
}

// Pairs by document hash, equal documents in order of doc_id; what is left by doc_id. Returns how many went by doc_id.
Result<int64_t> pair_task(Store& store, const StoredRun& a, const StoredRun& b, const CommonTask& task,
                          const std::string& metric, int32_t stratum, PairedScores& out) {
  ASSAY_ASSIGN(const StoredScores left, store.scores(a.id, task.baseline->id, metric));
  ASSAY_ASSIGN(const StoredScores right, store.scores(b.id, task.candidate->id, metric));
  WeightedValues before, after;
  std::unordered_map<std::string, std::vector<size_t>> by_hash;
  for (size_t i = right.values.size(); i-- > 0;) by_hash[right.doc_hashes[i]].push_back(i);
  std::vector<size_t> partner(left.values.size(), kNone);
  std::vector<bool> taken(right.values.size(), false);
  for (size_t i = 0; i < left.values.size(); ++i) {
    const auto found = by_hash.find(left.doc_hashes[i]);
    if (found == by_hash.end() || found->second.empty()) continue;
    partner[i] = found->second.back();
    taken[partner[i]] = true;
    found->second.pop_back();
  }
  std::unordered_map<int64_t, size_t> by_id;
  for (size_t i = 0; i < right.values.size(); ++i) {
    if (!taken[i]) by_id[right.doc_ids[i]] = i;
  }
  int64_t by_number = 0;
  for (size_t i = 0; i < left.values.size(); ++i) {
    if (partner[i] == kNone) {
      const auto found = by_id.find(left.doc_ids[i]);
      if (found == by_id.end()) continue;
      partner[i] = found->second;
      ++by_number;
    }
    before.add(left.values[i], left.weights[i]);
    after.add(right.values[partner[i]], right.weights[partner[i]]);
    out.stratum.push_back(stratum);
  }
  const std::string aggregation = aggregation_of(*task.baseline, metric);
  before.append_to(out.baseline, aggregation);
  after.append_to(out.candidate, aggregation);
  return by_number;
}

Status add_outcomes(Store& store, RunId run, int64_t task_id, OutcomeCounts& sum) {
  ASSAY_ASSIGN(const OutcomeCounts part, store.outcomes(run, task_id));
  sum.scored += part.scored;
  sum.no_answer += part.no_answer;
  sum.failed += part.failed;
  sum.skipped += part.skipped;
  sum.truncated += part.truncated;
  return ok_status();
}

class Comparer {
 public:
  Comparer(Store& store, const StoredRun& a, const StoredRun& b, const Registry& registry)
      : store_(store), a_(a), b_(b), registry_(registry) {
    for (const StoredTask& task : a.tasks) {
      const auto other =
          std::find_if(b.tasks.begin(), b.tasks.end(), [&](const StoredTask& t) { return t.name == task.name; });
      if (other != b.tasks.end()) common_.push_back({&task, &*other});
    }
  }

  const std::vector<CommonTask>& common() const { return common_; }
  const std::map<std::string, int64_t>& paired_by_number() const { return paired_by_number_; }

  Result<std::vector<RowScores>> rows(bool detail) {
    std::vector<std::string> names;
    for (const CommonTask& task : common_) names.push_back(task.baseline->name);
    const auto groups = registry_.complete_groups(names);
    std::vector<RowScores> rows;
    std::vector<std::string> grouped;
    for (const CommonTask& task : common_) {
      const std::string& name = task.baseline->name;
      if (std::find(grouped.begin(), grouped.end(), name) != grouped.end()) continue;
      const auto group = std::find_if(groups.begin(), groups.end(), [&](const TaskGroup* g) {
        const auto members = registry_.leaves(*g);
        return !g->is_tag && std::find(members.begin(), members.end(), name) != members.end();
      });
      if (group != groups.end()) {
        ASSAY_ASSIGN(RowScores row, group_row(**group, grouped));
        rows.push_back(std::move(row));
        if (!detail) continue;
        for (const CommonTask& leaf : common_) {
          const auto members = registry_.leaves(**group);
          if (std::find(members.begin(), members.end(), leaf.baseline->name) == members.end()) continue;
          ASSAY_ASSIGN(RowScores leaf_row, task_row(leaf));
          leaf_row.row.task = "  " + leaf.baseline->alias;
          leaf_row.row.is_group = false;
          rows.push_back(std::move(leaf_row));
        }
        continue;
      }
      ASSAY_ASSIGN(RowScores row, task_row(task));
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  Result<RowScores> task_row(const CommonTask& task) {
    RowScores out;
    describe(task, out.row);
    out.row.task = task.baseline->name;
    out.row.metric = task.baseline->primary_metric;
    ASSAY_TRY(pair(task, out.row.metric, 0, out.scores));
    ASSAY_TRY(add_outcomes(store_, a_.id, task.baseline->id, out.row.baseline_outcomes));
    ASSAY_TRY(add_outcomes(store_, b_.id, task.candidate->id, out.row.candidate_outcomes));
    out.row.share = is_share(aggregation_of(*task.baseline, out.row.metric));
    const bool lower = !task.baseline->higher_is_better;
    out.row.comparison = lower ? compare_lower_is_better(out.scores) : compare_paired(out.scores);
    return out;
  }

  Result<RowScores> group_row(const TaskGroup& group, std::vector<std::string>& grouped) {
    RowScores out;
    out.row.task = group.name;
    out.row.metric = group.metric;
    out.row.is_group = true;
    const auto members = registry_.leaves(group);
    int32_t stratum = 0;
    for (const CommonTask& task : common_) {
      if (std::find(members.begin(), members.end(), task.baseline->name) == members.end()) continue;
      describe(task, out.row);
      grouped.push_back(task.baseline->name);
      ASSAY_TRY(pair(task, group.metric, stratum++, out.scores));
      ASSAY_TRY(add_outcomes(store_, a_.id, task.baseline->id, out.row.baseline_outcomes));
      ASSAY_TRY(add_outcomes(store_, b_.id, task.candidate->id, out.row.candidate_outcomes));
    }
    out.row.comparison = compare_paired(out.scores);
    return out;
  }

  Status pair(const CommonTask& task, const std::string& metric, int32_t stratum, PairedScores& scores) {
    ASSAY_ASSIGN(const int64_t by_number, pair_task(store_, a_, b_, task, metric, stratum, scores));
    if (by_number > 0) paired_by_number_[task.baseline->name] = by_number;
    return ok_status();
  }

  static void describe(const CommonTask& task, RecoveryRow& row) {
    row.label = task.baseline->split_label;
    if (task.baseline->planned < task.baseline->rows) row.limited = true;
    row.num_fewshot = task.baseline->num_fewshot;
  }

  Store& store_;
  const StoredRun& a_;
  const StoredRun& b_;
  const Registry& registry_;
  std::vector<CommonTask> common_;
  std::map<std::string, int64_t> paired_by_number_;  // by task
};

std::string percent(double value) { return fmt::format("{:.2f}", 100 * value); }

std::string interval(const PairedComparison& c) {
  if (!c.recovery_bounded) return "unbounded";
  return fmt::format("[{:.1f}, {:.1f}]", 100 * c.recovery_low, 100 * c.recovery_high);
}

std::string metric_name(const std::string& key) {
  const size_t comma = key.find(',');
  return key.substr(comma + 1) == "none" ? key.substr(0, comma) : key;
}

// The column heading of a run: what sets the two apart, in the field's short words.
std::string column_name(const StoredRun& run) {
  const std::string& quantization = run.model.quantization;
  if (quantization != "none") return py_upper(quantization.substr(0, quantization.find(' ')));
  return run.model.dtype == "bfloat16" ? "BF16" : "F32";
}

std::vector<std::string> table_row(const RecoveryRow& row) {
  const PairedComparison& c = row.comparison;
  std::string name = row.label.empty() ? row.task : fmt::format("{} [{}]", row.task, row.label);
  if (row.is_average) {
    return {name,
            "",
            "",
            percent(c.baseline),
            percent(c.candidate),
            fmt::format("{:.1f} %", 100 * c.recovery),
            interval(c),
            fmt::format("{}/{}", c.lost, c.gained),
            "",
            std::to_string(c.count)};
  }
  return {name,
          std::to_string(row.num_fewshot),
          metric_name(row.metric),
          row.share ? percent(c.baseline) : fmt::format("{:.4f}", c.baseline),
          row.share ? percent(c.candidate) : fmt::format("{:.4f}", c.candidate),
          std::isnan(c.recovery) ? "n/a" : fmt::format("{:.1f} %", 100 * c.recovery),
          interval(c),
          fmt::format("{}/{}", c.lost, c.gained),
          c.mcnemar_p ? fmt::format("{:.3f}", *c.mcnemar_p) : "n/a",
          fmt::format("{}{}", c.count, row.limited ? " (slice)" : "")};
}

// Which model a column is, and the command that asks it again.
std::string run_note(std::string_view role, const StoredRun& run) {
  const std::string weights = run.model.quantization == "none" ? run.model.dtype : run.model.quantization;
  return fmt::format("{}, run {}, {} weights: {}", role, run.id, weights, run.command);
}

int64_t without_answer(const OutcomeCounts& counts) { return counts.no_answer + counts.failed + counts.skipped; }

}  // namespace

namespace {

// One pair of runs on its way into a report.
Status add_pair(Store& store, const RunPair& pair, const Registry& registry, bool detail, bool force,
                RecoveryReport& report, std::vector<RowScores>& rows) {
  ASSAY_ASSIGN(const StoredRun baseline, store.run(pair.baseline));
  ASSAY_ASSIGN(const StoredRun candidate, store.run(pair.candidate));
  Comparer comparer(store, baseline, candidate, registry);
  if (comparer.common().empty()) {
    return not_found(fmt::format("runs {} and {} have no task in common: `assay ls runs` shows what each ran",
                                 pair.baseline, pair.candidate));
  }
  const Differences differences = differences_of(baseline, candidate, comparer.common());
  if (!differences.serious.empty() && !force) {
    return bad_data(fmt::format("runs {} and {} did not ask the same questions: {}; --force compares them all the same",
                                pair.baseline, pair.candidate, differences.serious.front()));
  }
  ASSAY_ASSIGN(auto found, comparer.rows(detail));
  std::move(found.begin(), found.end(), std::back_inserter(rows));
  const auto warn = [&](const std::string& text) {
    if (std::find(report.warnings.begin(), report.warnings.end(), text) == report.warnings.end())
      report.warnings.push_back(text);
  };
  for (const std::string& text : differences.serious) warn(text);
  for (const std::string& text : differences.minor) warn(text);
  for (const auto& [task, count] : comparer.paired_by_number())
    warn(fmt::format("{}: {} questions differ in their text and were paired by number", task, count));
  for (const auto& [run, into] :
       {std::pair{pair.baseline, &report.baseline_findings}, std::pair{pair.candidate, &report.candidate_findings}}) {
    ASSAY_ASSIGN(auto findings, store.findings(run));
    std::move(findings.begin(), findings.end(), std::back_inserter(*into));
  }
  return ok_status();
}

void add_average(std::vector<RowScores>& rows, RecoveryReport& report) {
  std::vector<PairedComparison> averaged;
  std::vector<PairedScores> averaged_scores;
  for (RowScores& row : rows) {
    if (row.row.task.front() != ' ' && row.row.comparison.count > 0 && row.row.share) {
      averaged.push_back(row.row.comparison);
      averaged_scores.push_back(std::move(row.scores));
    }
    report.rows.push_back(std::move(row.row));
  }
  if (averaged.size() < 2) return;
  RecoveryRow average;
  average.task = "average";
  average.is_average = true;
  average.comparison = average_of(averaged, averaged_scores);
  report.rows.push_back(std::move(average));
}

}  // namespace

Result<RecoveryReport> compare_runs(Store& store, RunId baseline, RunId candidate, const Registry& registry,
                                    bool detail, bool force) {
  return compare_run_pairs(store, {{baseline, candidate}}, registry, detail, force);
}

Result<RecoveryReport> compare_run_pairs(Store& store, const std::vector<RunPair>& pairs, const Registry& registry,
                                         bool detail, bool force) {
  if (pairs.empty()) return invalid_argument("no runs to compare");
  RecoveryReport report;
  ASSAY_ASSIGN(report.baseline, store.run(pairs.front().baseline));
  ASSAY_ASSIGN(report.candidate, store.run(pairs.front().candidate));
  std::vector<RowScores> rows;
  for (const RunPair& pair : pairs) ASSAY_TRY(add_pair(store, pair, registry, detail, force, report, rows));
  add_average(rows, report);
  return report;
}

Table recovery_table(const RecoveryReport& report) {
  Table table;
  table.title = fmt::format("{} against {}: what was recovered", report.candidate.model.model_name,
                            report.baseline.model.model_name);
  table.columns = {{"task"},
                   {"shots", true},
                   {"metric"},
                   {column_name(report.baseline) + " %", true},
                   {column_name(report.candidate) + " %", true},
                   {"recovery", true},
                   {"95 % interval", true},
                   {"flips -/+", true},
                   {"McNemar p", true},
                   {"items", true}};
  int64_t unanswered = 0;
  for (const RecoveryRow& row : report.rows) {
    if (row.is_average) table.rules_before.push_back(table.rows.size());
    table.rows.push_back(table_row(row));
    unanswered += without_answer(row.baseline_outcomes) + without_answer(row.candidate_outcomes);
  }
  table.notes.push_back(
      "interval: of the ratio, paired question by question (Fieller); flips: right before, wrong after / wrong before, "
      "right after");
  if (unanswered > 0)
    table.notes.push_back(
        fmt::format("{} answers held no extractable answer or failed; `assay report RUN` counts them", unanswered));
  for (const std::string& warning : report.warnings) table.notes.push_back("warning: " + warning);
  for (const auto& [role, findings] :
       {std::pair{"baseline, ", &report.baseline_findings}, std::pair{"candidate, ", &report.candidate_findings}}) {
    for (std::string& note : finding_notes(*findings, role, StoredFinding::Severity::warning))
      table.notes.push_back(std::move(note));
  }
  table.notes.push_back(run_note("baseline", report.baseline));
  table.notes.push_back(run_note("candidate", report.candidate));
  return table;
}

Json recovery_json(const RecoveryReport& report) {
  Json rows = Json::array();
  for (const RecoveryRow& row : report.rows) {
    const PairedComparison& c = row.comparison;
    Json json = Json::object();
    json.set("task", row.task).set("metric", row.metric).set("num_fewshot", row.num_fewshot).set("label", row.label);
    json.set("group", row.is_group).set("average", row.is_average).set("slice", row.limited).set("items", c.count);
    json.set("baseline", c.baseline).set("candidate", c.candidate);
    json.set("difference", c.difference).set("difference_se", c.difference_se);
    json.set("difference_low", c.difference_low).set("difference_high", c.difference_high);
    json.set("recovery", std::isnan(c.recovery) ? Json() : Json(c.recovery));
    json.set("recovery_low", c.recovery_bounded ? Json(c.recovery_low) : Json());
    json.set("recovery_high", c.recovery_bounded ? Json(c.recovery_high) : Json());
    json.set("lost", c.lost)
        .set("gained", c.gained)
        .set("mcnemar_p", row.is_average || !c.mcnemar_p ? Json() : Json(*c.mcnemar_p));
    rows.push_back(std::move(json));
  }
  Json warnings = Json::array();
  for (const std::string& warning : report.warnings) warnings.push_back(warning);
  const auto run = [](const StoredRun& r) {
    return Json::object()
        .set("run", r.id)
        .set("model", r.model.model_name)
        .set("quantization", r.model.quantization)
        .set("dtype", r.model.dtype)
        .set("weights_sha256", r.model.weights_sha256)
        .set("plan_sha256", r.plan_sha256)
        .set("command", r.command);
  };
  return Json::object()
      .set("baseline", run(report.baseline))
      .set("candidate", run(report.candidate))
      .set("rows", std::move(rows))
      .set("warnings", std::move(warnings))
      .set("baseline_findings", findings_json(report.baseline_findings))
      .set("candidate_findings", findings_json(report.candidate_findings));
}

}  // namespace assay
