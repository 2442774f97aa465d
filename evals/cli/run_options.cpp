#include "evals/cli/run_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/base/text_util.h"

namespace assay::cli {
namespace {

// "500", "512M", "2G" (powers of 1024).
Result<int64_t> parse_bytes(const std::string& text) {
  if (text.empty()) return int64_t{0};
  int shift = 0;
  std::string digits = text;
  switch (text.back()) {
    case 'k':
    case 'K': shift = 10; break;
    case 'm':
    case 'M': shift = 20; break;
    case 'g':
    case 'G': shift = 30; break;
    default: break;
  }
  if (shift) digits.pop_back();
  const auto value = parse_int(digits);
  if (!value || *value <= 0 || *value > (int64_t{1} << 50 >> shift)) {
    return invalid_argument(fmt::format("--kv-bytes {}: expected a size such as 512M or 2G", text));
  }
  return *value << shift;
}

Json parse_scalar(const std::string& text) {
  if (text == "true" || text == "True") return Json(true);
  if (text == "false" || text == "False") return Json(false);
  if (const auto integer = parse_int(text)) return Json(*integer);
  if (const auto real = parse_double(text)) return Json(*real);
  return Json(text);
}

// lm-eval's "a=1,b=0.5", or a JSON object.
Result<Json> parse_gen_kwargs(const std::string& text) {
  if (text.empty()) return Json::object();
  if (text.front() == '{') {
    ASSAY_ASSIGN(Json json, Json::parse(text, "--gen-kwargs"));
    return json;
  }
  Json json = Json::object();
  for (const std::string& part : split_any(text, ",")) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      return invalid_argument(fmt::format(
          "--gen-kwargs: '{}' is not KEY=VALUE; write max_gen_toks=200,temperature=0.2 or a JSON object", part));
    }
    json.set(part.substr(0, equals), parse_scalar(part.substr(equals + 1)));
  }
  return json;
}

Result<std::map<std::string, std::vector<int64_t>>> parse_samples(const std::string& text) {
  std::map<std::string, std::vector<int64_t>> samples;
  if (text.empty()) return samples;
  std::string json_text = text;
  if (text.front() != '{') {
    ASSAY_ASSIGN(json_text, real_files().read(text));
  }
  ASSAY_ASSIGN(const Json json, Json::parse(json_text, "--samples"));
  ASSAY_ASSIGN(const auto members, JsonField(json, "--samples").members());
  for (const auto& [task, list] : members) {
    ASSAY_ASSIGN(const auto items, list.items());
    samples[task];
    for (const JsonField& item : items) {
      ASSAY_ASSIGN(const int64_t doc_id, item.as_int(0));
      samples[task].push_back(doc_id);
    }
  }
  return samples;
}

// One seed for all, or lm-eval's python,numpy,torch,few-shot.
Status parse_seeds(const std::string& text, RunSettings& settings) {
  if (text.empty()) return ok_status();
  std::vector<int64_t> seeds;
  for (const std::string& part : split_any(text, ",")) {
    const auto seed = part == "None" ? std::optional<int64_t>(0) : parse_int(part);
    if (!seed || *seed < 0)
      return invalid_argument(fmt::format("--seed {}: expected a number, or four: python,numpy,torch,few-shot", text));
    seeds.push_back(*seed);
  }
  if (seeds.size() != 1 && seeds.size() != 4) {
    return invalid_argument(fmt::format("--seed {}: expected one number or four, found {}", text, seeds.size()));
  }
  settings.seed = static_cast<uint64_t>(seeds[seeds.size() == 4 ? 2 : 0]);
  settings.fewshot_seed = static_cast<uint64_t>(seeds.back());
  return ok_status();
}

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/,=:@+") ==
                                          std::string::npos;
  return plain ? word : "'" + replace_all(word, "'", "'\\''") + "'";
}

}  // namespace

void add_model_options(CLI::App& verb, RunOptions& options) {
  verb.add_option("--model,-m", options.model, "checkpoint folder");
  verb.add_option("--model_args", options.model_args,
                  "lm-eval's spelling: pretrained=FOLDER,dtype=...,max_model_len=...");
  verb.add_option("--dtype", options.dtype, "bfloat16, float32, auto")
      ->check(CLI::IsMember({"auto", "bfloat16", "bf16", "float32", "fp32"}));
  verb.add_option("--backend", options.backend, "cpu, cuda, auto")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  verb.add_option("--threads", options.threads, "processor threads (0: all)")->check(CLI::Range(0, 1024));
  verb.add_option("--max-length,--max_length", options.max_length, "longest sequence in tokens (0: the model's)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24));
  verb.add_option("--max-batch-tokens", options.max_batch_tokens, "tokens a step (0: the backend's best)")
      ->check(CLI::Range(0, 1 << 20));
  verb.add_option("--kv-bytes", options.kv_bytes,
                  "size of the KV cache: 512M, 2G (default: a quarter of free memory, at most 1G)");
  verb.add_flag("--no-prefix-tree", options.no_prefix_tree, "compute shared prefixes again for every request");
  verb.add_option("--batch-size,--batch_size", options.batch_size,
                  "accepted for lm-eval's sake: batches are planned from memory");
  verb.add_option("--now", options.now, "the date that chat templates see (default 2025-04-15T00:00:00Z)");
}

void add_code_options(CLI::App& verb, RunOptions& options) {
  verb.add_option("--python", options.python, "the interpreter that programs run in (default: /usr/bin/python3)");
  verb.add_flag("--no-sandbox", options.no_sandbox,
                "run programs that a model wrote without isolation; every score says so");
}

void add_prompt_options(CLI::App& verb, RunOptions& options) {
  verb.add_option("--num-fewshot,--num_fewshot,-f", options.num_fewshot,
                  "shots: 5, or TASK=N,... (default: each task's own)");
  verb.add_option("--split", options.split,
                  "evaluated split: validation, or TASK=SPLIT,... (default: each task's own)");
  verb.add_option("--fewshot-split,--fewshot_split", options.fewshot_split,
                  "split that shots come from, written like --split");
  verb.add_flag("--apply-chat-template,--apply_chat_template", options.apply_chat_template,
                "render prompts with the model's chat template");
  verb.add_flag("--fewshot-as-multiturn,--fewshot_as_multiturn", options.fewshot_as_multiturn,
                "shots as user and assistant turns");
  verb.add_option("--system-instruction,--system_instruction", options.system_instruction,
                  "system message before every prompt");
  verb.add_option("--profile", options.profile,
                  "main: lm-eval 0.4.13; card-2025-04: lm-eval of April 2025, warts included")
      ->check(CLI::IsMember({"main", "card-2025-04"}));
  verb.add_flag("--skip-bad-rows", options.skip_bad_rows,
                "leave out rows of the data that lack a field or hold a wrong answer; the table counts them");
  verb.add_option("--seed", options.seed, "one seed, or four: python,numpy,torch,few-shot (default 0,1234,1234,1234)");
}

Status apply_model_args(RunOptions& options) {
  for (const std::string& part : split_any(options.model_args, ",")) {
    const size_t equals = part.find('=');
    const std::string key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "pretrained") {
      options.model = value;
    } else if (key == "dtype") {
      options.dtype = value;
    } else if (key == "max_model_len" || key == "max_length") {
      const auto length = parse_int(value);
      if (!length || *length < 1)
        return invalid_argument(fmt::format("--model_args {}: expected a length in tokens", part));
      options.max_length = *length;
    } else if (key == "add_bos_token" || key == "gpu_memory_utilization" || key == "tensor_parallel_size" ||
               key == "trust_remote_code" || key == "device" || key == "batch_size") {
      // settings of other engines that have no meaning here
    } else {
      return invalid_argument(
          fmt::format("--model_args {}: not known; known are pretrained, dtype, max_model_len", key));
    }
  }
  return ok_status();
}

Result<EngineOptions> engine_options(const RunOptions& options, const std::string& model) {
  if (model.empty())
    return invalid_argument(
        "no model: name a checkpoint folder with --model (assay import gguf FILE --out DIR makes one)");
  EngineOptions engine;
  engine.model = model;
  engine.backend = options.backend;
  engine.dtype = options.dtype == "bf16" ? "bfloat16" : options.dtype == "fp32" ? "float32" : options.dtype;
  engine.num_threads = options.threads;
  engine.max_batch_tokens = options.max_batch_tokens;
  ASSAY_ASSIGN(engine.kv_bytes, parse_bytes(options.kv_bytes));
  engine.prefix_tree = !options.no_prefix_tree;
  engine.now_utc = options.now;
  return engine;
}

Result<RunSettings> run_settings(const RunOptions& options) {
  RunSettings settings;
  for (const std::string& entry : options.tasks) {
    for (std::string& name : split_any(entry, ", ")) settings.tasks.push_back(std::move(name));
  }
  settings.num_fewshot = options.num_fewshot;
  settings.limit = options.limit;
  settings.split = options.split;
  settings.fewshot_split = options.fewshot_split;
  ASSAY_ASSIGN(const Profile profile, parse_profile(options.profile));
  settings.prompt = {options.apply_chat_template, options.fewshot_as_multiturn, options.system_instruction, profile};
  ASSAY_ASSIGN(settings.samples, parse_samples(options.samples));
  ASSAY_ASSIGN(settings.gen_kwargs, parse_gen_kwargs(options.gen_kwargs));
  settings.max_length = options.max_length;
  settings.skip_bad_rows = options.skip_bad_rows;
  settings.now_utc = options.now;
  ASSAY_TRY(parse_seeds(options.seed, settings));
  return settings;
}

RunHints run_hints(const RunOptions& options) {
  RunHints hints;
  hints.item_order = options.item_order;
  return hints;
}

std::string reproducing_command(const RunSettings& settings, const std::string& model, const std::string& dtype) {
  const RunSettings defaults;
  std::string text = fmt::format("assay run --model {} --tasks {}", quoted(model), quoted(join(settings.tasks, ",")));
  if (!settings.num_fewshot.empty()) text += " --num-fewshot " + quoted(settings.num_fewshot);
  if (!settings.split.empty()) text += " --split " + quoted(settings.split);
  if (!settings.fewshot_split.empty()) text += " --fewshot-split " + quoted(settings.fewshot_split);
  if (settings.prompt.apply_chat_template) text += " --apply-chat-template";
  if (settings.prompt.fewshot_as_multiturn) text += " --fewshot-as-multiturn";
  if (!settings.prompt.system_instruction.empty())
    text += " --system-instruction " + quoted(settings.prompt.system_instruction);
  if (settings.prompt.profile != defaults.prompt.profile)
    text += fmt::format(" --profile {}", profile_name(settings.prompt.profile));
  if (!settings.limit.empty()) text += " --limit " + quoted(settings.limit);
  if (!settings.samples.empty()) text += " --samples " + quoted(settings.to_json().find("samples")->dump());
  if (settings.gen_kwargs.size() > 0) text += " --gen-kwargs " + quoted(settings.gen_kwargs.dump());
  if (settings.max_length > 0) text += fmt::format(" --max-length {}", settings.max_length);
  if (settings.seed != defaults.seed || settings.fewshot_seed != defaults.fewshot_seed) {
    text += fmt::format(" --seed 0,0,{},{}", settings.seed, settings.fewshot_seed);
  }
  if (settings.skip_bad_rows) text += " --skip-bad-rows";
  for (const std::string& file : settings.task_files) text += " --task-file " + quoted(file);
  if (!settings.now_utc.empty()) text += " --now " + quoted(settings.now_utc);
  return text + " --dtype " + dtype;
}

}  // namespace assay::cli
