#include "evals/run/suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "engine/base/file.h"
#include "engine/base/text_util.h"
#include "evals/data/embedded_manifests.h"

namespace assay {
namespace {

Status refuse_unknown_keys(const JsonField& object, std::initializer_list<std::string_view> known) {
  ASSAY_ASSIGN(const auto members, object.members());
  for (const auto& [key, value] : members) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      return value.error(fmt::format("one of the keys {}", fmt::join(known, ", ")));
  }
  return ok_status();
}

std::string plain_text(const Json& value) { return value.is_string() ? value.as_string() : value.dump(); }

// A value for all, or an object of values by task, as the command line spells it: "5", "mmlu=5,gsm8k=8".
Result<std::string> read_choice(const JsonField& part, std::string_view key) {
  const auto field = part.find(key);
  if (!field) return std::string();
  if (!field->json().is_object()) {
    if (!field->json().is_string() && !field->json().is_number())
      return field->error("a value, or an object of values by task");
    return plain_text(field->json());
  }
  std::vector<std::string> parts;
  ASSAY_ASSIGN(const auto members, field->members());
  for (const auto& [task, value] : members) {
    if (!value.json().is_string() && !value.json().is_number()) return value.error("a number or a word");
    parts.push_back(fmt::format("{}={}", task, plain_text(value.json())));
  }
  return join(parts, ",");
}

Result<RunSettings> read_part(const JsonField& part) {
  ASSAY_TRY(
      refuse_unknown_keys(part, {"tasks", "num_fewshot", "split", "fewshot_split", "limit", "apply_chat_template",
                                 "fewshot_as_multiturn", "system_instruction", "gen_kwargs", "max_length", "profile"}));
  RunSettings settings;
  ASSAY_ASSIGN(const JsonField tasks, part.get("tasks"));
  ASSAY_ASSIGN(const auto names, tasks.items());
  for (const JsonField& name : names) {
    ASSAY_ASSIGN(std::string text, name.as_string());
    settings.tasks.push_back(std::move(text));
  }
  if (settings.tasks.empty()) return tasks.error("at least one task");
  ASSAY_ASSIGN(settings.num_fewshot, read_choice(part, "num_fewshot"));
  ASSAY_ASSIGN(settings.split, read_choice(part, "split"));
  ASSAY_ASSIGN(settings.fewshot_split, read_choice(part, "fewshot_split"));
  ASSAY_ASSIGN(settings.limit, read_choice(part, "limit"));
  ASSAY_ASSIGN(settings.prompt.apply_chat_template, part.bool_or("apply_chat_template", false));
  ASSAY_ASSIGN(settings.prompt.fewshot_as_multiturn, part.bool_or("fewshot_as_multiturn", false));
  ASSAY_ASSIGN(settings.prompt.system_instruction, part.string_or("system_instruction", ""));
  ASSAY_ASSIGN(settings.max_length, part.int_or("max_length", 0, 0));
  ASSAY_ASSIGN(const std::string profile, part.string_or("profile", profile_name(settings.prompt.profile)));
  const auto known = parse_profile(profile);
  if (!known.ok()) return part.find("profile")->error("main or card-2025-04");
  settings.prompt.profile = *known;
  if (const auto gen_kwargs = part.find("gen_kwargs")) {
    ASSAY_TRY(gen_kwargs->members());
    settings.gen_kwargs = gen_kwargs->json();
  }
  return settings;
}

std::string overlaid_choice(const std::string& part, const std::string& given) {
  if (given.empty()) return part;
  const auto words = split_any(given, ",");
  const bool bare = std::any_of(words.begin(), words.end(),
                                [](const std::string& word) { return word.find('=') == std::string::npos; });
  return bare || part.empty() ? given : part + "," + given;
}

}  // namespace

std::vector<std::string> suite_names() {
  std::vector<std::string> names;
  for (const EmbeddedManifest& suite : embedded_suites()) names.emplace_back(suite.name);
  std::sort(names.begin(), names.end());
  return names;
}

Result<Suite> find_suite(const std::string& name_or_path) {
  for (const EmbeddedManifest& suite : embedded_suites()) {
    if (suite.name == name_or_path)
      return parse_suite(suite.text, fmt::format("data-manifests/suites/{}.json", suite.name));
  }
  std::error_code error;
  if (std::filesystem::is_regular_file(name_or_path, error)) {
    ASSAY_ASSIGN(const std::string text, real_files().read(name_or_path, size_t{1} << 20));
    return parse_suite(text, name_or_path);
  }
  const auto near = nearest(name_or_path, suite_names());
  return not_found(fmt::format("no suite or file is named \"{}\"; {}there are {}", name_or_path,
                               near ? fmt::format("did you mean \"{}\"? ", *near) : "", join(suite_names(), ", ")));
}

Result<Suite> parse_suite(std::string_view text, std::string_view source) {
  ASSAY_ASSIGN(const Json json, Json::parse(text, source));
  const JsonField root(json, source);
  ASSAY_TRY(refuse_unknown_keys(root, {"name", "about", "parts"}));
  Suite suite;
  ASSAY_ASSIGN(suite.name, root.get_string("name"));
  ASSAY_ASSIGN(suite.about, root.string_or("about", ""));
  ASSAY_ASSIGN(const JsonField parts, root.get("parts"));
  ASSAY_ASSIGN(const auto items, parts.items());
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(RunSettings part, read_part(item));
    suite.parts.push_back(std::move(part));
  }
  if (suite.parts.empty()) return parts.error("at least one part");
  return suite;
}

RunSettings overlaid(const RunSettings& part, const RunSettings& given) {
  RunSettings settings = part;
  settings.num_fewshot = overlaid_choice(part.num_fewshot, given.num_fewshot);
  settings.split = overlaid_choice(part.split, given.split);
  settings.fewshot_split = overlaid_choice(part.fewshot_split, given.fewshot_split);
  settings.limit = overlaid_choice(part.limit, given.limit);
  settings.prompt.apply_chat_template |= given.prompt.apply_chat_template;
  settings.prompt.fewshot_as_multiturn |= given.prompt.fewshot_as_multiturn;
  if (!given.prompt.system_instruction.empty()) settings.prompt.system_instruction = given.prompt.system_instruction;
  for (const auto& [key, value] : given.gen_kwargs.as_object()) settings.gen_kwargs.set(key, value);
  if (given.max_length > 0) settings.max_length = given.max_length;
  settings.fewshot_seed = given.fewshot_seed;
  settings.seed = given.seed;
  settings.now_utc = given.now_utc;
  return settings;
}

RunSettings with_known_tasks(const RunSettings& part, const Registry& registry, std::vector<std::string>& unknown) {
  RunSettings settings = part;
  settings.tasks.clear();
  for (const std::string& name : part.tasks) {
    (registry.expand({name}).ok() ? settings.tasks : unknown).push_back(name);
  }
  return settings;
}

}  // namespace assay
