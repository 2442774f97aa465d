#include "evals/run/rescore.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/text_util.h"
#include "evals/run/findings.h"
#include "evals/run/plan.h"

namespace assay {
namespace {

bool same_metrics(std::vector<MetricValue> a, std::vector<MetricValue> b) {
  const auto by_key = [](const MetricValue& x, const MetricValue& y) {
    return std::tie(x.name, x.filter) < std::tie(y.name, y.filter);
  };
  std::sort(a.begin(), a.end(), by_key);
  std::sort(b.begin(), b.end(), by_key);
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const MetricValue& x, const MetricValue& y) {
    const bool both_nan = x.value != x.value && y.value != y.value;
    return x.name == y.name && x.filter == y.filter && x.weight == y.weight && (x.value == y.value || both_nan);
  });
}

bool same_extracted(std::vector<Extracted> a, std::vector<Extracted> b) {
  const auto by_filter = [](const Extracted& x, const Extracted& y) { return x.filter < y.filter; };
  std::sort(a.begin(), a.end(), by_filter);
  std::sort(b.begin(), b.end(), by_filter);
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Extracted& x, const Extracted& y) { return x.filter == y.filter && x.text == y.text; });
}

bool same_score(const Score& a, const Score& b) {
  return a.outcome == b.outcome && a.reason == b.reason && same_metrics(a.metrics, b.metrics) &&
         same_extracted(a.extracted, b.extracted);
}

Result<RescoreSummary> rescore_task(Store& store, const StoredRun& run, StoredTask stored, const Task& task) {
  RescoreSummary summary;
  std::vector<StoredItem> renewed;
  ASSAY_TRY(store.for_each_item(run.id, stored.id, [&](const StoredItem& item) {
    if (item.score.outcome == Outcome::failed && item.response.loglikelihoods.empty() &&
        item.response.completions.empty())
      return ok_status();
    auto question = task.ask(item.document);
    if (!question.ok()) return question.status().with_context(fmt::format("{} document {}", stored.name, item.doc_id));
    const Sample sample{item.doc_id, item.document, std::move(*question)};
    ++summary.items;
    StoredItem again;
    again.doc_id = item.doc_id;
    again.score = task.judge(sample, item.response);
    if (!same_score(again.score, item.score)) renewed.push_back(std::move(again));
    return ok_status();
  }));
  summary.changed = static_cast<int64_t>(renewed.size());
  stored.version = task.info().version;
  stored.info = task_info_to_json(task.info());
  stored.primary_metric = task.info().primary_metric;
  ASSAY_TRY(store.replace_scores(run.id, stored, renewed));
  return summary;
}

}  // namespace

Result<RescoreSummary> rescore_run(Store& store, RunId id, const Registry& registry) {
  ASSAY_ASSIGN(StoredRun run, store.run(id));
  for (const StoredTask& task : run.tasks) {
    if (!registry.find_task(task.name))
      return not_found(
          fmt::format("run {}: there is no task {} any more, so its answers cannot be judged", id, task.name));
  }
  RescoreSummary sum;
  std::vector<StoredFinding> notes;
  for (const StoredTask& task : run.tasks) {
    ASSAY_ASSIGN(const RescoreSummary part, rescore_task(store, run, task, *registry.find_task(task.name)));
    sum.items += part.items;
    sum.changed += part.changed;
    const std::string& version = registry.find_task(task.name)->info().version;
    if (part.changed == 0 && version == task.version) continue;
    notes.push_back(
        {task.name, "rescored", StoredFinding::Severity::info, part.changed, part.items,
         fmt::format("scores were renewed from stored answers by assay {}: {} of {} changed (task version {} "
                     "-> {})",
                     ASSAY_VERSION, part.changed, part.items, task.version, version)});
  }
  ASSAY_ASSIGN(run, store.run(id));
  ASSAY_ASSIGN(auto findings, findings_of(store, run));
  ASSAY_ASSIGN(const auto before, store.findings(id));
  for (const StoredFinding& old : before) {
    if (old.code == "rescored" || old.code == "imported") findings.push_back(old);
  }
  findings.insert(findings.end(), notes.begin(), notes.end());
  ASSAY_TRY(store.replace_findings(id, findings));
  return sum;
}

}  // namespace assay
