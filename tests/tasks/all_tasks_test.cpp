#include "tasks/all_tasks.h"

#include <doctest/doctest.h>

#include "engine/base/text_util.h"
#include "evals/data/manifest.h"
#include "tests/tasks/task_rows.h"

namespace assay {
namespace {

TEST_CASE("every task names a data set, splits and metrics that exist") {
  const Registry& registry = testing::all_tasks();
  CHECK(registry.task_names().size() == 57 + 5 + 3 + 3 + 14 + 8 + 1 + 1 + 28 + 8);
  for (const std::string& name : registry.task_names()) {
    CAPTURE(name);
    const TaskInfo& info = registry.find_task(name)->info();
    Result<const DatasetManifest*> manifest = find_manifest(info.dataset);
    REQUIRE_MESSAGE(manifest.ok(), manifest.status().message());
    CHECK((*manifest)->hub_repository == info.dataset_path);
    for (const std::string& split : {info.eval_split(), info.shot_split()}) {
      bool there = false;
      for (const ManifestSource& source : (*manifest)->sources) {
        for (const ManifestFile& file : source.files) there |= file.subset == info.subset && file.split == split;
      }
      CHECK_MESSAGE(there, split);
    }
    const std::string primary = info.primary_metric.substr(0, info.primary_metric.find(','));
    const std::string filter = info.primary_metric.substr(primary.size() + 1);
    bool has_metric = false, has_filter = info.filters.empty() && filter == "none";
    for (const MetricInfo& metric : info.metrics) has_metric |= metric.name == primary;
    for (const Filter& entry : info.filters) has_filter |= entry.name == filter;
    CHECK(has_metric);
    CHECK(has_filter);
  }
}

TEST_CASE("MMLU's groups hold 57 subjects: 19, 13, 12 and 13") {
  const Registry& registry = testing::all_tasks();
  auto size = [&](std::string_view name) { return registry.leaves(*registry.find_group(name)).size(); };
  CHECK(size("mmlu") == 57);
  CHECK(size("mmlu_stem") == 19);
  CHECK(size("mmlu_other") == 13);
  CHECK(size("mmlu_social_sciences") == 12);
  CHECK(size("mmlu_humanities") == 13);
  const TaskGroup& mmlu = *registry.find_group("mmlu");
  CHECK(mmlu.weight_by_size);
  CHECK(mmlu.version == "2");
  CHECK(registry.complete_groups(registry.leaves(mmlu)).front() == &mmlu);
}

TEST_CASE("an extra shot is drawn exactly where lm-eval's configurations leave both splits undefined") {
  auto undefined = [](const char* name) {
    const TaskInfo& info = testing::task_named(name).info();
    return info.fewshot_split == info.test_split;
  };
  CHECK(undefined("hellaswag"));
  CHECK(undefined("winogrande"));
  CHECK_FALSE(undefined("arc_challenge"));
  CHECK_FALSE(undefined("gsm8k"));
  CHECK_FALSE(undefined("mmlu_anatomy"));
}

}  // namespace
}  // namespace assay
