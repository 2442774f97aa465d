#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/run/rescore.h"
#include "reports/export_lm_eval.h"
#include "reports/recovery.h"
#include "reports/recovery_plot.h"
#include "reports/run_view.h"
#include "reports/table.h"

namespace assay::cli {
namespace {

struct ReportOptions {
  RunId run = 0, other = 0;
  std::string format = "terminal", output_path, export_format = "lm-eval";
  bool detail = false, force = false, no_samples = false;
};

void print_as(const Table& table, const Json& json, const std::string& format, const Globals& globals) {
  std::string text;
  if (globals.json || format == "json") {
    text = json.dump() + "\n";
  } else if (format == "markdown") {
    text = print_markdown(table);
  } else if (format == "csv") {
    text = print_csv(table);
  } else {
    text = print_terminal(table, globals.use_color());
  }
  std::fputs(text.c_str(), stdout);
}

Result<int> report_command(const ReportOptions& options, const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  RunId run = options.run;
  if (run == 0) {
    ASSAY_ASSIGN(const auto newest, store->newest());
    if (!newest) return not_found(fmt::format("{}: no runs yet; `assay run` makes one", globals.db));
    run = *newest;
  }
  ASSAY_ASSIGN(const RunView view, view_run(*store, run, registry()));
  print_as(run_table(view), run_json(view), options.format, globals);
  return 0;
}

Result<int> compare_command(const ReportOptions& options, const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  ASSAY_ASSIGN(const RecoveryReport report,
               compare_runs(*store, options.run, options.other, registry(), options.detail, options.force));
  if (options.format == "svg" && !globals.json) {
    std::fputs(recovery_svg(report).c_str(), stdout);
    return 0;
  }
  print_as(recovery_table(report), recovery_json(report), options.format, globals);
  return 0;
}

Result<int> export_command(const ReportOptions& options, const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  ASSAY_ASSIGN(const auto files,
               export_lm_eval(*store, options.run, registry(), options.output_path, !options.no_samples));
  Json list = Json::array();
  for (const Path& file : files) {
    list.push_back(file.string());
    if (!globals.json) std::printf("%s\n", file.c_str());
  }
  if (globals.json) std::printf("%s\n", Json::object().set("files", std::move(list)).dump().c_str());
  return 0;
}

Result<int> rescore_command(RunId run, const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  ASSAY_ASSIGN(const StoredRun stored, store->run(run));
  const Json* asked = stored.settings.find("profile");  // an imported run has none
  if (const Json* files = stored.settings.find("task_files"); files && files->is_array()) {
    std::vector<std::string> paths;
    for (const Json& file : files->as_array()) paths.push_back(file.is_string() ? file.as_string() : "");
    ASSAY_TRY(load_task_files(paths, {}));
  }
  ASSAY_ASSIGN(const Profile profile, parse_profile(asked && asked->is_string() ? asked->as_string() : "main"));
  ASSAY_ASSIGN(const RescoreSummary summary, rescore_run(*store, run, registry(profile)));
  if (!globals.json)
    std::fprintf(stderr, "run %lld: %lld answers judged again, %lld scores changed\n", static_cast<long long>(run),
                 static_cast<long long>(summary.items), static_cast<long long>(summary.changed));
  ASSAY_ASSIGN(const RunView view, view_run(*store, run, registry()));
  Json json = run_json(view);
  json.set("rescored", summary.items).set("changed", summary.changed);
  print_as(run_table(view), json, "terminal", globals);
  return 0;
}

void add_format(CLI::App& verb, ReportOptions& options, std::vector<std::string> more = {}) {
  std::vector<std::string> formats = {"terminal", "markdown", "json", "csv"};
  formats.insert(formats.end(), more.begin(), more.end());
  verb.add_option("--format", options.format, fmt::format("{}", fmt::join(formats, ", ")))
      ->check(CLI::IsMember(formats));
}

}  // namespace

void add_report(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("report", "what one run found");
  verb->add_option("RUN", options->run, "run number (default: the newest)");
  add_format(*verb, *options);
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return report_command(*options, globals); }; });
}

void add_compare(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("compare", "the recovery table of two runs, paired question by question");
  verb->add_option("BASE", options->run, "the baseline's run number")->required();
  verb->add_option("CANDIDATE", options->other, "the candidate's run number")->required();
  verb->add_flag("--detail", options->detail, "also a row for each task of a group");
  verb->add_flag("--force", options->force, "compare although the questions differ");
  add_format(*verb, *options, {"svg"});
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return compare_command(*options, globals); }; });
}

void add_export(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* verb = app.add_subcommand("export", "write a run in another tool's format");
  verb->add_option("RUN", options->run, "run number")->required();
  verb->add_option("--format", options->export_format, "lm-eval")->check(CLI::IsMember({"lm-eval"}));
  verb->add_option("--output-path,--output_path,-o", options->output_path, "folder to write into")->required();
  verb->add_flag("--no-samples", options->no_samples, "only the results file");
  verb->callback(
      [options, &globals, &chosen] { chosen = [options, &globals] { return export_command(*options, globals); }; });
}

void add_rescore(CLI::App& app, Globals& globals, Action& chosen) {
  auto run = std::make_shared<RunId>(0);
  CLI::App* verb = app.add_subcommand("rescore", "judge a run's stored answers again, without the model");
  verb->add_option("RUN", *run, "run number")->required();
  verb->callback([run, &globals, &chosen] { chosen = [run, &globals] { return rescore_command(*run, globals); }; });
}

}  // namespace assay::cli
