#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "engine/base/clock.h"
#include "engine/base/text_util.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/data/fetch.h"
#include "evals/run/suite.h"
#include "reports/table.h"

namespace assay::cli {
namespace {

void print_table(const Table& table, const Globals& globals) {
  std::fputs(print_terminal(table, globals.use_color()).c_str(), stdout);
}

Json strings(const std::vector<std::string>& values) {
  Json json = Json::array();
  for (const std::string& value : values) json.push_back(value);
  return json;
}

// A task's row: what it asks, and which of its splits are at hand.
std::vector<std::string> task_row(const Task& task, const DataLocations& locations) {
  const TaskInfo& info = task.info();
  std::vector<std::string> splits;
  if (const auto manifest = find_manifest(info.dataset); manifest.ok())
    splits = available_splits(locations, **manifest, info.subset);
  return {info.name,
          info.version,
          std::string(request_kind_name(info.kind)),
          std::to_string(info.num_fewshot),
          info.primary_metric,
          info.eval_split(),
          splits.empty() ? "none" : join(splits, " ")};
}

Result<int> list_tasks(const Globals& globals) {
  const DataLocations locations = DataLocations::from_environment();
  Table table;
  table.columns = {{"task"}, {"version", true}, {"kind"}, {"shots", true}, {"metric"}, {"split"}, {"data at hand"}};
  Json tasks = Json::object(), groups = Json::object();
  for (const std::string& name : registry().task_names()) {
    table.rows.push_back(task_row(*registry().find_task(name), locations));
    const auto& row = table.rows.back();
    tasks.set(name, Json::object()
                        .set("version", row[1])
                        .set("kind", row[2])
                        .set("num_fewshot", registry().find_task(name)->info().num_fewshot)
                        .set("metric", row[4])
                        .set("split", row[5])
                        .set("data_at_hand", strings(split_any(row[6] == "none" ? "" : row[6], " "))));
  }
  for (const std::string& name : registry().group_names()) {
    const TaskGroup* group = registry().find_group(name);
    groups.set(name, strings(group->children));
    table.notes.push_back(fmt::format("group {}: {} tasks", name, registry().leaves(*group).size()));
  }
  if (globals.json) {
    std::printf("%s\n", Json::object().set("tasks", tasks).set("groups", groups).dump().c_str());
  } else {
    print_table(table, globals);
  }
  return 0;
}

Result<int> list_runs(const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  ASSAY_ASSIGN(const auto runs, store->runs());
  Table table;
  table.columns = {{"run", true}, {"state"}, {"model"}, {"weights"},
                   {"dtype"},     {"tasks"}, {"begun"}, {"seconds", true}};
  Json list = Json::array();
  for (const StoredRun& run : runs) {
    const Json* tasks = run.settings.find("tasks");
    std::vector<std::string> names;
    if (tasks && tasks->is_array()) {
      for (const Json& name : tasks->as_array()) names.push_back(name.is_string() ? name.as_string() : "");
    }
    const std::string state = run.state == RunState::finished ? "finished" : "unfinished";
    table.rows.push_back({std::to_string(run.id), state, run.model.model_name, run.model.quantization, run.model.dtype,
                          join(names, ","), format_utc(run.created_utc_us).substr(0, 19),
                          fmt::format("{:.0f}", run.seconds)});
    list.push_back(Json::object()
                       .set("run", run.id)
                       .set("state", state)
                       .set("model", run.model.model_name)
                       .set("quantization", run.model.quantization)
                       .set("dtype", run.model.dtype)
                       .set("tasks", strings(names))
                       .set("created_utc", format_utc(run.created_utc_us))
                       .set("seconds", run.seconds)
                       .set("plan_sha256", run.plan_sha256));
  }
  if (globals.json) {
    std::printf("%s\n", list.dump().c_str());
  } else {
    print_table(table, globals);
  }
  return 0;
}

Result<int> list_suites(const Globals& globals) {
  Table table;
  table.columns = {{"suite"}, {"tasks"}, {"about"}};
  Json list = Json::array();
  for (const std::string& name : suite_names()) {
    ASSAY_ASSIGN(const Suite suite, find_suite(name));
    std::vector<std::string> tasks;
    for (const RunSettings& part : suite.parts) tasks.insert(tasks.end(), part.tasks.begin(), part.tasks.end());
    table.rows.push_back({name, join(tasks, ","), suite.about});
    list.push_back(Json::object().set("suite", name).set("tasks", strings(tasks)).set("about", suite.about));
  }
  if (globals.json) {
    std::printf("%s\n", list.dump().c_str());
  } else {
    print_table(table, globals);
  }
  return 0;
}

}  // namespace

void add_ls(CLI::App& app, Globals& globals, Action& chosen) {
  CLI::App* verb = app.add_subcommand("ls", "list tasks, suites or runs");
  verb->require_subcommand(1);
  verb->add_subcommand("tasks", "every task, with the data that is at hand")->callback([&globals, &chosen] {
    chosen = [&globals] { return list_tasks(globals); };
  });
  verb->add_subcommand("suites", "the suites built in, for run --suite")->callback([&globals, &chosen] {
    chosen = [&globals] { return list_suites(globals); };
  });
  verb->add_subcommand("runs", "the runs in the database, newest first")->callback([&globals, &chosen] {
    chosen = [&globals] { return list_runs(globals); };
  });
}

}  // namespace assay::cli
