#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iterator>
#include <memory>

#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "engine/formats/gguf.h"
#include "engine/model/import_gguf.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/run/import_lm_eval.h"

namespace assay::cli {
namespace {

Result<int> import_gguf_command(const std::string& file, const std::string& out, const Globals& globals) {
  ASSAY_ASSIGN(const GgufFile gguf, GgufFile::open(file));
  ASSAY_ASSIGN(const GgufImportReport report, import_gguf(gguf, out));
  if (globals.json) {
    std::printf("%s\n", Json::object()
                            .set("out", out)
                            .set("architecture", report.architecture)
                            .set("tensors", report.num_tensors)
                            .set("parameters", report.num_parameters)
                            .set("bytes", report.bytes_written)
                            .dump()
                            .c_str());
  } else {
    std::printf("%s: %s, %s parameters in %lld tensors, %s bytes of bf16 weights\n", out.c_str(),
                report.architecture.c_str(), with_thousands(report.num_parameters).c_str(),
                static_cast<long long>(report.num_tensors), with_thousands(report.bytes_written).c_str());
  }
  return 0;
}

void print_imported(const ImportedRun& run, const Path& file) {
  if (run.was_here) {
    std::printf("run %lld  %s: imported before\n", static_cast<long long>(run.run), file.c_str());
    return;
  }
  std::printf("run %lld  %s: %lld tasks, %s answers, %s document hashes matched, %s mismatched\n",
              static_cast<long long>(run.run), run.model.c_str(), static_cast<long long>(run.tasks),
              with_thousands(run.items).c_str(), with_thousands(run.matched_hashes).c_str(),
              with_thousands(run.mismatched_hashes).c_str());
  for (const std::string& warning : run.warnings) std::fprintf(stderr, "assay: %s\n", warning.c_str());
}

Json imported_json(const ImportedRun& run, const Path& file) {
  Json warnings = Json::array();
  for (const std::string& warning : run.warnings) warnings.push_back(warning);
  return Json::object()
      .set("run", run.run)
      .set("file", file.string())
      .set("was_here", run.was_here)
      .set("model", run.model)
      .set("tasks", run.tasks)
      .set("items", run.items)
      .set("matched_hashes", run.matched_hashes)
      .set("mismatched_hashes", run.mismatched_hashes)
      .set("warnings", std::move(warnings));
}

Result<int> import_lm_eval_command(const std::vector<std::string>& folders, const Globals& globals) {
  std::vector<LmEvalRunFiles> files;
  for (const std::string& folder : folders) {
    ASSAY_ASSIGN(auto found, find_lm_eval_runs(folder));
    std::move(found.begin(), found.end(), std::back_inserter(files));
  }
  ASSAY_ASSIGN(auto store, Store::open(globals.db));
  Json list = Json::array();
  for (const LmEvalRunFiles& each : files) {
    ASSAY_ASSIGN(const ImportedRun run, import_lm_eval(*store, each, registry()));
    if (!globals.json) print_imported(run, each.results);
    list.push_back(imported_json(run, each.results));
  }
  if (globals.json) std::printf("%s\n", Json::object().set("runs", std::move(list)).dump().c_str());
  return 0;
}

}  // namespace

void add_import(CLI::App& app, Globals& globals, Action& chosen) {
  CLI::App* verb = app.add_subcommand("import", "take over what other tools wrote: a model, or results");
  verb->require_subcommand(1);
  auto file = std::make_shared<std::string>(), out = std::make_shared<std::string>();
  CLI::App* gguf = verb->add_subcommand("gguf", "a GGUF file as a bf16 checkpoint folder");
  gguf->add_option("FILE", *file, "the GGUF file")->required();
  gguf->add_option("--out,-o", *out, "folder to make")->required();
  gguf->callback([file, out, &globals, &chosen] {
    chosen = [file, out, &globals] { return import_gguf_command(*file, *out, globals); };
  });
  auto folders = std::make_shared<std::vector<std::string>>();
  CLI::App* lm_eval = verb->add_subcommand("lm-eval", "results and samples of lm-eval 0.4 as stored runs");
  lm_eval->add_option("DIR", *folders, "folders given to lm_eval as --output_path, or results files")->required();
  lm_eval->callback([folders, &globals, &chosen] {
    chosen = [folders, &globals] { return import_lm_eval_command(*folders, globals); };
  });
}

}  // namespace assay::cli
