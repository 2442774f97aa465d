#include <fmt/format.h>

#include "engine/base/text_util.h"
#include "evals/run/plan.h"

namespace assay {
namespace {

Json strings_to_json(const std::vector<std::string>& values) {
  Json json = Json::array();
  for (const std::string& value : values) json.push_back(value);
  return json;
}

Result<std::map<std::string, std::vector<int64_t>>> read_samples(const JsonField& field) {
  std::map<std::string, std::vector<int64_t>> samples;
  ASSAY_ASSIGN(const auto members, field.members());
  for (const auto& [task, list] : members) {
    ASSAY_ASSIGN(const auto items, list.items());
    for (const JsonField& item : items) {
      ASSAY_ASSIGN(const int64_t doc_id, item.as_int(0));
      samples[task].push_back(doc_id);
    }
  }
  return samples;
}

}  // namespace

Json RunSettings::to_json() const {
  Json json = Json::object();
  json.set("tasks", strings_to_json(tasks));
  json.set("num_fewshot", num_fewshot).set("split", split).set("fewshot_split", fewshot_split);
  json.set("apply_chat_template", prompt.apply_chat_template).set("fewshot_as_multiturn", prompt.fewshot_as_multiturn);
  json.set("system_instruction", prompt.system_instruction);
  json.set("limit", limit);
  Json chosen = Json::object();
  for (const auto& [task, doc_ids] : samples) {
    Json ids = Json::array();
    for (const int64_t doc_id : doc_ids) ids.push_back(doc_id);
    chosen.set(task, std::move(ids));
  }
  json.set("samples", std::move(chosen));
  json.set("gen_kwargs", gen_kwargs);
  json.set("max_length", max_length);
  json.set("fewshot_seed", static_cast<int64_t>(fewshot_seed)).set("seed", static_cast<int64_t>(seed));
  json.set("profile", profile_name(prompt.profile)).set("now_utc", now_utc);
  // Written only where used: runs that were stored without them keep their digest.
  if (skip_bad_rows) json.set("skip_bad_rows", true);
  if (!task_files.empty()) json.set("task_files", strings_to_json(task_files));
  return json;
}

Result<RunSettings> RunSettings::from_json(const Json& json) {
  const JsonField root(json, "stored settings");
  RunSettings settings;
  ASSAY_ASSIGN(const JsonField tasks, root.get("tasks"));
  ASSAY_ASSIGN(const auto names, tasks.items());
  for (const JsonField& name : names) {
    ASSAY_ASSIGN(std::string text, name.as_string());
    settings.tasks.push_back(std::move(text));
  }
  ASSAY_ASSIGN(settings.num_fewshot, root.get_string("num_fewshot"));
  ASSAY_ASSIGN(settings.split, root.get_string("split"));
  ASSAY_ASSIGN(settings.fewshot_split, root.get_string("fewshot_split"));
  ASSAY_ASSIGN(settings.prompt.apply_chat_template, root.get_bool("apply_chat_template"));
  ASSAY_ASSIGN(settings.prompt.fewshot_as_multiturn, root.get_bool("fewshot_as_multiturn"));
  ASSAY_ASSIGN(settings.prompt.system_instruction, root.get_string("system_instruction"));
  ASSAY_ASSIGN(settings.limit, root.get_string("limit"));
  ASSAY_ASSIGN(const JsonField samples, root.get("samples"));
  ASSAY_ASSIGN(settings.samples, read_samples(samples));
  ASSAY_ASSIGN(const JsonField gen_kwargs, root.get("gen_kwargs"));
  settings.gen_kwargs = gen_kwargs.json();
  ASSAY_ASSIGN(settings.max_length, root.get_int("max_length", 0));
  ASSAY_ASSIGN(const int64_t fewshot_seed, root.get_int("fewshot_seed"));
  ASSAY_ASSIGN(const int64_t seed, root.get_int("seed"));
  settings.fewshot_seed = static_cast<uint64_t>(fewshot_seed);
  settings.seed = static_cast<uint64_t>(seed);
  ASSAY_ASSIGN(const std::string profile, root.get_string("profile"));
  ASSAY_ASSIGN(settings.prompt.profile, parse_profile(profile));
  ASSAY_ASSIGN(settings.now_utc, root.get_string("now_utc"));
  ASSAY_ASSIGN(settings.skip_bad_rows, root.bool_or("skip_bad_rows", false));
  if (const auto files = root.find("task_files")) {
    ASSAY_ASSIGN(const auto paths, files->items());
    for (const JsonField& path : paths) {
      ASSAY_ASSIGN(std::string text, path.as_string());
      settings.task_files.push_back(std::move(text));
    }
  }
  return settings;
}

Result<std::string> choice_for(std::string_view option, const std::string& setting, const std::string& task,
                               const std::string& group) {
  std::string chosen;
  size_t best = 0;  // length of the name that matched, 0 for a bare value
  for (const std::string& part : split_any(setting, ",")) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos) {
      if (best == 0) chosen = part;
      continue;
    }
    if (equals == 0 || equals + 1 == part.size()) {
      return invalid_argument(
          fmt::format("{} '{}': expected a value, or TASK=VALUE parts separated by commas", option, part));
    }
    const std::string name = part.substr(0, equals);
    const bool matches = name == task || name == group || starts_with(task, name + "_");
    if (!matches || name.size() < best) continue;
    best = name.size();
    chosen = part.substr(equals + 1);
  }
  return chosen;
}

}  // namespace assay
