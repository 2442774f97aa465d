#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "evals/run/plan.h"

namespace CLI {
class App;
}

namespace assay::cli {

// The options of `assay run` as typed, in our spelling or lm-eval's.
struct RunOptions {
  std::string model, baseline;
  std::string model_args;  // lm-eval: pretrained=...,dtype=...,max_model_len=...
  std::vector<std::string> tasks;
  std::string num_fewshot, limit, samples, gen_kwargs, seed = "", batch_size;
  std::string split, fewshot_split, system_instruction, output_path, item_order = "natural", now, profile = "main";
  bool apply_chat_template = false, fewshot_as_multiturn = false, log_samples = false, no_prefix_tree = false;
  bool skip_bad_rows = false, accept_findings = false, plan = false, no_sandbox = false;
  std::string python;  // the interpreter that programs run in
  std::string suite;
  std::vector<std::string> more_models;  // beside --model
  int64_t max_length = 0;
  std::string dtype = "auto", backend = "auto", kv_bytes;
  int threads = 0, max_batch_tokens = 0;
};

void add_model_options(CLI::App& verb, RunOptions& options);   // which model, and how it runs
void add_code_options(CLI::App& verb, RunOptions& options);    // how programs are run
void add_prompt_options(CLI::App& verb, RunOptions& options);  // what changes the questions

// lm-eval's --model_args spread over the options. Errors: invalid_argument for a key that means nothing here.
Status apply_model_args(RunOptions& options);
Result<EngineOptions> engine_options(const RunOptions& options, const std::string& model);
Result<RunSettings> run_settings(const RunOptions& options);
RunHints run_hints(const RunOptions& options);

// The command that asks `model` the same questions again.
std::string reproducing_command(const RunSettings& settings, const std::string& model, const std::string& dtype);

}  // namespace assay::cli
