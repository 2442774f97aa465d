#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"

namespace CLI {
class App;
}

namespace assay::cli {

// What every verb shares. Filled by main before a verb runs.
struct Globals {
  std::string db;     // --db, else the data folder's assay.db
  bool json = false;  // --json: one object on stdout
  bool quiet = false;
  bool verbose = false;
  std::string color = "auto";
  std::vector<std::string> task_files, include_paths;  // --task-file, --include-path
  bool use_color() const;                              // for stdout
};

// What a verb does once its options are parsed; returns the process's exit code.
using Action = std::function<Result<int>()>;

// Each adds its verb to the application and gives the action to `chosen` when it is picked.
void add_run(CLI::App& app, Globals& globals, Action& chosen);
void add_resume(CLI::App& app, Globals& globals, Action& chosen);
void add_ls(CLI::App& app, Globals& globals, Action& chosen);
void add_report(CLI::App& app, Globals& globals, Action& chosen);
void add_compare(CLI::App& app, Globals& globals, Action& chosen);
void add_export(CLI::App& app, Globals& globals, Action& chosen);
void add_rescore(CLI::App& app, Globals& globals, Action& chosen);
void add_prompt(CLI::App& app, Globals& globals, Action& chosen);
void add_fetch(CLI::App& app, Globals& globals, Action& chosen);
void add_import(CLI::App& app, Globals& globals, Action& chosen);
void add_quantize(CLI::App& app, Globals& globals, Action& chosen);
void add_generate(CLI::App& app, Globals& globals, Action& chosen);
void add_grade(CLI::App& app, Globals& globals, Action& chosen);
void add_sandbox(CLI::App& app, Globals& globals, Action& chosen);
void add_doctor(CLI::App& app, Globals& globals, Action& chosen);
void add_bench(CLI::App& app, Globals& globals, Action& chosen);

}  // namespace assay::cli
