#include <unistd.h>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/cli/usage.h"

namespace assay::cli {

bool Globals::use_color() const {
  const auto set = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && *value != '\0';
  };
  if (color == "always") return true;
  if (color == "never") return false;
  if (set("CLICOLOR_FORCE") || set("FORCE_COLOR")) return true;
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) == 1 && !set("NO_COLOR") && !(term && std::string(term) == "dumb");
}

namespace {

constexpr int kUsage = 64;

void add_globals(CLI::App& app, Globals& globals) {
  app.add_option("--db", globals.db, "database of runs (default: assay.db in the data folder)");
  app.add_flag("--json", globals.json, "print one JSON object on stdout");
  app.add_flag("-q,--quiet", globals.quiet, "no progress, no notes");
  app.add_flag("-v,--verbose", globals.verbose, "say more on stderr");
  app.add_option("--task-file", globals.task_files,
                 "a JSON file that defines a task (docs/task_files.md); may be repeated")
      ->expected(1);
  app.add_option("--include-path,--include_path", globals.include_paths, "a folder of such files; may be repeated")
      ->expected(1);
  app.add_option("--color", globals.color, "always, auto, never")->check(CLI::IsMember({"always", "auto", "never"}));
}

int fail(const Status& status) {
  std::fprintf(stderr, "assay: %s\n", status.message().c_str());
  return exit_code(status.code());
}

int run(int argc, char** argv) {
  Globals globals;
  Action action;
  CLI::App app{"Assay tells, question by question, what quantization cost a language model.", "assay"};
  app.set_version_flag("--version", "assay " ASSAY_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  add_globals(app, globals);
  add_run(app, globals, action);
  add_resume(app, globals, action);
  add_ls(app, globals, action);
  add_report(app, globals, action);
  add_compare(app, globals, action);
  add_export(app, globals, action);
  add_rescore(app, globals, action);
  add_prompt(app, globals, action);
  add_fetch(app, globals, action);
  add_import(app, globals, action);
  add_quantize(app, globals, action);
  add_generate(app, globals, action);
  add_grade(app, globals, action);
  add_sandbox(app, globals, action);
  add_doctor(app, globals, action);
  add_bench(app, globals, action);
  if (const std::string unknown = unknown_word(app, argc, argv); !unknown.empty())
    return fail(invalid_argument(unknown));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsage;
  }
  if (globals.db.empty()) globals.db = (data_directory() / "assay.db").string();
  set_log_level(globals.quiet ? LogLevel::quiet : globals.verbose ? LogLevel::verbose : LogLevel::normal);
  if (const Status status = load_task_files(globals.task_files, globals.include_paths); !status.ok())
    return fail(status);
  const Result<int> result = action();
  return result.ok() ? *result : fail(result.status());
}

}  // namespace
}  // namespace assay::cli

int main(int argc, char** argv) {
  try {
    return assay::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "assay: out of memory: lower --kv-bytes or --max-length, or use a smaller model\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "assay: internal error: %s\n", error.what());
  }
  return assay::exit_code(assay::Code::internal);
}
