#include "tasks/task_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "engine/base/hash.h"
#include "engine/base/regex.h"
#include "engine/base/text_util.h"
#include "tasks/file_task.h"

namespace assay {
namespace {

constexpr size_t kMaxFileBytes = size_t{4} << 20;

using Names = std::vector<std::string>;

Status refuse_unknown(const JsonField& object, const Names& known) {
  ASSAY_ASSIGN(const auto members, object.members());
  for (const auto& [key, value] : members) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::optional<std::string> near = nearest(key, known);
    return value.error(near ? fmt::format("a known field (did you mean \"{}\"?)", *near)
                            : fmt::format("one of the fields {}", join(known, ", ")));
  }
  return ok_status();
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= 200 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") ==
             std::string_view::npos;
}

Result<std::string> name_or(const JsonField& object, std::string_view key, std::string_view other) {
  ASSAY_ASSIGN(std::string name, object.string_or(key, other));
  if (!name.empty() && !is_name(name)) return object.get(key)->error("letters, digits, \"_\", \"-\" and \".\"");
  return name;
}

Result<Names> strings_or(const JsonField& object, std::string_view key, Names other) {
  const std::optional<JsonField> list = object.find(key);
  if (!list) return other;
  ASSAY_ASSIGN(const auto items, list->items());
  Names strings;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(std::string text, item.as_string());
    strings.push_back(std::move(text));
  }
  return strings;
}

Result<std::string> one_of(const JsonField& object, std::string_view key, std::string_view other, const Names& known) {
  ASSAY_ASSIGN(std::string value, object.string_or(key, other));
  if (std::find(known.begin(), known.end(), value) == known.end()) {
    return object.get(key)->error(fmt::format("one of {}", join(known, ", ")));
  }
  return value;
}

// Data ----------------------------------------------------------------------------------------------------------------

bool stays_inside(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos) return false;
  const Names parts = split(path, "/");
  return std::all_of(parts.begin(), parts.end(), [](const auto& p) { return !p.empty() && p != "." && p != ".."; });
}

bool is_sha256(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A split's file: a path, or an object that also says how to read it and what it must hold.
Result<ManifestFile> read_data_file(const std::string& split, const JsonField& field) {
  ManifestFile file;
  file.split = split;
  file.layout = "hub";
  if (field.json().is_string()) {
    ASSAY_ASSIGN(file.path, field.as_string());
  } else {
    ASSAY_TRY(refuse_unknown(field, {"path", "format", "columns", "sha256", "rows"}));
    ASSAY_ASSIGN(file.path, field.get_string("path"));
    ASSAY_ASSIGN(file.format, one_of(field, "format", "", {"", "jsonl", "json", "csv", "parquet", "arrow"}));
    ASSAY_ASSIGN(file.columns, strings_or(field, "columns", {}));
    ASSAY_ASSIGN(file.sha256, field.string_or("sha256", ""));
    ASSAY_ASSIGN(file.rows, field.int_or("rows", 0, 0));
    if (!file.sha256.empty() && !is_sha256(file.sha256)) {
      return field.get("sha256")->error("64 lower-case hexadecimal digits");
    }
  }
  if (!stays_inside(file.path)) return field.error("a path beside the task file, without \"..\"");
  return file;
}

Result<DatasetManifest> read_data(const JsonField& root, const std::string& task, const Path& folder) {
  ASSAY_ASSIGN(const JsonField data, root.get("data"));
  ASSAY_ASSIGN(const auto members, data.members());
  if (members.empty()) return data.error("at least one split, such as {\"test\": \"rows.jsonl\"}");
  DatasetManifest manifest;
  manifest.license = "as its author says";
  ManifestSource source = {.kind = "folder", .name = task, .root = folder.string()};
  for (const auto& [split, field] : members) {
    if (!is_name(split)) return field.error("a split named in letters, digits, \"_\", \"-\" and \".\"");
    ASSAY_ASSIGN(ManifestFile file, read_data_file(split, field));
    source.files.push_back(std::move(file));
  }
  manifest.sources.push_back(std::move(source));
  return manifest;
}

bool has_split(const DatasetManifest& manifest, std::string_view split) {
  const auto& files = manifest.sources[0].files;
  return std::any_of(files.begin(), files.end(), [&](const ManifestFile& file) { return file.split == split; });
}

// Names a split that `data` holds: what the field says, else `usual` where that is there.
Result<std::string> read_split(const JsonField& root, std::string_view key, std::string_view usual,
                               const DatasetManifest& manifest) {
  ASSAY_ASSIGN(std::string split, root.string_or(key, has_split(manifest, usual) ? usual : ""));
  if (!split.empty() && !has_split(manifest, split)) return root.get(key)->error("a split that \"data\" holds");
  return split;
}

Status read_splits(const JsonField& root, const DatasetManifest& manifest, TaskInfo& info) {
  ASSAY_ASSIGN(info.training_split, read_split(root, "training_split", "train", manifest));
  ASSAY_ASSIGN(info.validation_split, read_split(root, "validation_split", "validation", manifest));
  ASSAY_ASSIGN(info.test_split, read_split(root, "test_split", "test", manifest));
  ASSAY_ASSIGN(info.fewshot_split, read_split(root, "fewshot_split", "", manifest));
  if (info.eval_split().empty()) {
    return root.get("data")->error("a split \"test\" or \"validation\", or one that \"test_split\" names");
  }
  return ok_status();
}

// Scoring -------------------------------------------------------------------------------------------------------------

Result<FilterStep> read_step(const JsonField& field) {
  using Kind = FilterStep::Kind;
  static const std::map<std::string, Kind> kKinds = {{"regex", Kind::regex},
                                                     {"multi_choice_regex", Kind::multi_choice_regex},
                                                     {"take_first", Kind::take_first},
                                                     {"lowercase", Kind::lowercase},
                                                     {"strip", Kind::strip}};
  ASSAY_TRY(refuse_unknown(field, {"function", "regex_pattern", "group_select", "ignore_case", "ignore_punctuation"}));
  ASSAY_ASSIGN(const std::string function, field.get_string("function"));
  const auto kind = kKinds.find(function);
  if (kind == kKinds.end()) {
    return field.get("function")->error("regex, multi_choice_regex, take_first, lowercase or strip");
  }
  FilterStep step;
  step.kind = kind->second;
  ASSAY_ASSIGN(step.pattern, field.string_or("regex_pattern", ""));
  ASSAY_ASSIGN(const int64_t group, field.int_or("group_select", 0, -1000, 1000));
  step.group_select = static_cast<int>(group);
  ASSAY_ASSIGN(step.ignore_case, field.bool_or("ignore_case", false));
  ASSAY_ASSIGN(step.ignore_punctuation, field.bool_or("ignore_punctuation", false));
  const bool searches = step.kind == Kind::regex || step.kind == Kind::multi_choice_regex;
  if (searches == step.pattern.empty()) return field.error("\"regex_pattern\" with regex and multi_choice_regex only");
  if (searches) {
    const Result<Regex> regex = Regex::compile(step.pattern);
    if (!regex.ok()) return regex.status().with_context(field.get("regex_pattern")->error("a pattern").message());
  }
  return step;
}

Result<std::vector<Filter>> read_filters(const JsonField& root) {
  std::vector<Filter> filters;
  const std::optional<JsonField> list = root.find("filter_list");
  if (!list) return filters;
  ASSAY_ASSIGN(const auto items, list->items());
  for (const JsonField& item : items) {
    ASSAY_TRY(refuse_unknown(item, {"name", "filter"}));
    Filter filter;
    ASSAY_ASSIGN(filter.name, item.get_string("name"));
    if (!is_name(filter.name)) return item.get("name")->error("letters, digits, \"_\", \"-\" and \".\"");
    const bool twice =
        std::any_of(filters.begin(), filters.end(), [&](const Filter& f) { return f.name == filter.name; });
    if (twice) return item.get("name")->error("a name that no other filter has");
    ASSAY_ASSIGN(const JsonField steps, item.get("filter"));
    ASSAY_ASSIGN(const auto step_items, steps.items());
    if (step_items.empty()) return steps.error("at least one step, such as {\"function\": \"take_first\"}");
    for (const JsonField& step_item : step_items) {
      ASSAY_ASSIGN(FilterStep step, read_step(step_item));
      filter.steps.push_back(std::move(step));
    }
    filters.push_back(std::move(filter));
  }
  return filters;
}

Names metrics_of(RequestKind kind) {
  return kind == RequestKind::multiple_choice ? Names{"acc", "acc_norm", "acc_bytes"} : Names{"exact_match"};
}

// One metric: its name, or an object as in lm-eval's metric_list.
Status read_metric(const JsonField& field, TaskInfo& info) {
  std::string name;
  JsonField source = field;
  if (field.json().is_string()) {
    ASSAY_ASSIGN(name, field.as_string());
  } else {
    ASSAY_TRY(refuse_unknown(field, {"metric", "aggregation", "higher_is_better", "ignore_case", "ignore_punctuation",
                                     "regexes_to_ignore"}));
    ASSAY_ASSIGN(name, field.get_string("metric"));
    source = *field.get("metric");
    ASSAY_TRY(one_of(field, "aggregation", "mean", {"mean"}));
    ASSAY_ASSIGN(const bool higher, field.bool_or("higher_is_better", true));
    if (!higher) return field.get("higher_is_better")->error("true: all these metrics are shares of right answers");
    ASSAY_ASSIGN(info.exact_match.ignore_case, field.bool_or("ignore_case", false));
    ASSAY_ASSIGN(info.exact_match.ignore_punctuation, field.bool_or("ignore_punctuation", false));
    ASSAY_ASSIGN(info.exact_match.regexes_to_ignore, strings_or(field, "regexes_to_ignore", {}));
    for (const std::string& text : info.exact_match.regexes_to_ignore) {
      const Result<Regex> regex = Regex::compile(text);
      if (!regex.ok()) return regex.status().with_context(field.get("regexes_to_ignore")->error("patterns").message());
    }
  }
  const Names known = metrics_of(info.kind);
  const bool twice =
      std::any_of(info.metrics.begin(), info.metrics.end(), [&](const MetricInfo& m) { return m.name == name; });
  if (twice || std::find(known.begin(), known.end(), name) == known.end()) {
    return source.error(fmt::format("each of {} once at most", join(known, ", ")));
  }
  info.metrics.push_back({.name = name});
  return ok_status();
}

Status read_metrics(const JsonField& root, TaskInfo& info) {
  const std::optional<JsonField> list = root.find("metric_list");
  if (list) {
    ASSAY_ASSIGN(const auto items, list->items());
    if (items.empty()) return list->error("at least one metric");
    for (const JsonField& item : items) ASSAY_TRY(read_metric(item, info));
  } else {
    info.metrics = {{.name = metrics_of(info.kind)[0]}};
  }
  Names keys;
  for (const MetricInfo& metric : info.metrics) {
    if (info.filters.empty()) keys.push_back(metric.name + ",none");
    for (const Filter& filter : info.filters) keys.push_back(metric.name + "," + filter.name);
  }
  ASSAY_ASSIGN(info.primary_metric, one_of(root, "primary_metric", keys[0], keys));
  return ok_status();
}

Status read_generation(const JsonField& root, TaskInfo& info) {
  const std::optional<JsonField> field = root.find("generation_kwargs");
  if (!field) return ok_status();
  if (info.kind != RequestKind::generate_until)
    return field->error("nothing here where output_type is multiple_choice");
  ASSAY_TRY(refuse_unknown(*field, {"until", "max_gen_toks", "do_sample", "temperature", "top_p"}));
  ASSAY_ASSIGN(info.generation.until, strings_or(*field, "until", {}));
  ASSAY_ASSIGN(const int64_t tokens, field->int_or("max_gen_toks", 0, 0, 1 << 20));
  info.generation.max_gen_toks = static_cast<int>(tokens);
  ASSAY_ASSIGN(info.generation.do_sample, field->bool_or("do_sample", false));
  ASSAY_ASSIGN(const double temperature, field->real_or("temperature", 0));
  ASSAY_ASSIGN(const double top_p, field->real_or("top_p", 1));
  if (!(temperature >= 0 && temperature <= 100)) return field->get("temperature")->error("a number from 0 to 100");
  if (!(top_p > 0 && top_p <= 1)) return field->get("top_p")->error("a number above 0, at most 1");
  info.generation.temperature = info.generation.do_sample ? static_cast<float>(temperature) : 0;
  info.generation.top_p = static_cast<float>(top_p);
  return ok_status();
}

// Asking --------------------------------------------------------------------------------------------------------------

Result<FieldText> read_text(const JsonField& root, std::string_view key, const TemplateCompiler& compile) {
  ASSAY_ASSIGN(const JsonField field, root.get(key));
  if (field.json().is_int()) return FieldText{.constant = field.json()};
  ASSAY_ASSIGN(const std::string text, field.as_string());
  Result<TextTemplate> rendered = compile(text, field.path());
  if (!rendered.ok()) return bad_data(field.error("a template").message() + ": " + rendered.status().message());
  return FieldText{.source = text, .rendered = std::move(rendered).value()};
}

Result<std::vector<FieldText>> read_choices(const JsonField& root, const TemplateCompiler& compile) {
  ASSAY_ASSIGN(const JsonField field, root.get("doc_to_choice"));
  std::vector<FieldText> choices;
  if (field.json().is_string()) {
    ASSAY_ASSIGN(FieldText text, read_text(root, "doc_to_choice", compile));
    choices.push_back(std::move(text));
    return choices;
  }
  ASSAY_ASSIGN(const auto items, field.items());
  if (items.size() < 2) return field.error("at least two choices, or the name of a column that holds a list of them");
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(const std::string text, item.as_string());
    Result<TextTemplate> rendered = compile(text, item.path());
    if (!rendered.ok()) return bad_data(item.error("a template").message() + ": " + rendered.status().message());
    choices.push_back({.source = text, .rendered = std::move(rendered).value()});
  }
  return choices;
}

Status read_asking(const JsonField& root, const TemplateCompiler& compile, const TaskInfo& info, Asking& asking) {
  ASSAY_ASSIGN(asking.text, read_text(root, "doc_to_text", compile));
  if (asking.text.constant) return root.get("doc_to_text")->error("a template or the name of a column");
  ASSAY_ASSIGN(asking.target, read_text(root, "doc_to_target", compile));
  if (info.kind == RequestKind::multiple_choice) {
    ASSAY_ASSIGN(asking.choices, read_choices(root, compile));
    asking.choices_are_a_list = root.find("doc_to_choice")->json().is_string();
  } else if (root.find("doc_to_choice")) {
    return root.get("doc_to_choice")->error("nothing here where output_type is generate_until");
  }
  ASSAY_ASSIGN(asking.answer_prefix, root.string_or("gen_prefix", ""));
  ASSAY_ASSIGN(asking.id_column, root.string_or("id_column", ""));
  const std::optional<JsonField> shots = root.find("samples");
  if (!shots) return ok_status();
  ASSAY_ASSIGN(const auto items, shots->items());
  for (const JsonField& item : items) {
    if (!item.json().is_object()) return item.error("an object of named columns");
    asking.shots.push_back(item.json());
  }
  return ok_status();
}

const Names& known_fields() {
  static const Names kKnown = {"task",
                               "alias",
                               "group",
                               "version",
                               "description",
                               "data",
                               "training_split",
                               "validation_split",
                               "test_split",
                               "fewshot_split",
                               "output_type",
                               "doc_to_text",
                               "doc_to_target",
                               "doc_to_choice",
                               "gen_prefix",
                               "target_delimiter",
                               "fewshot_delimiter",
                               "num_fewshot",
                               "sampler",
                               "samples",
                               "id_column",
                               "generation_kwargs",
                               "filter_list",
                               "metric_list",
                               "primary_metric"};
  return kKnown;
}

Result<TaskInfo> read_info(const JsonField& root) {
  TaskInfo info;
  ASSAY_TRY(root.get_string("task"));
  ASSAY_ASSIGN(info.name, name_or(root, "task", ""));
  if (info.name.empty()) return root.get("task")->error("a name");
  ASSAY_ASSIGN(info.alias, root.string_or("alias", info.name));
  ASSAY_ASSIGN(info.group, name_or(root, "group", ""));
  ASSAY_ASSIGN(info.version, root.string_or("version", "1.0"));
  ASSAY_ASSIGN(info.description, root.string_or("description", ""));
  ASSAY_TRY(root.get_string("output_type"));
  ASSAY_ASSIGN(const std::string kind, one_of(root, "output_type", "", {"multiple_choice", "generate_until"}));
  info.kind = kind == "generate_until" ? RequestKind::generate_until : RequestKind::multiple_choice;
  ASSAY_ASSIGN(info.target_delimiter, root.string_or("target_delimiter", " "));
  ASSAY_ASSIGN(info.fewshot_delimiter, root.string_or("fewshot_delimiter", "\n\n"));
  ASSAY_ASSIGN(const int64_t shots, root.int_or("num_fewshot", 0, 0, 1000));
  info.num_fewshot = static_cast<int>(shots);
  ASSAY_ASSIGN(const std::string sampler, one_of(root, "sampler", "default", {"default", "first_n"}));
  info.sampler = sampler == "first_n" ? FewShotSampler::first_n : FewShotSampler::random;
  return info;
}

}  // namespace

Result<TaskFile> parse_task_file(std::string_view text, const Path& path, const TemplateCompiler& compile) {
  if (text.size() > kMaxFileBytes) {
    return bad_data(fmt::format("{}: expected at most {} bytes, found {}", path.string(), kMaxFileBytes, text.size()));
  }
  ASSAY_ASSIGN(const Json json, Json::parse(text, path.string(), {.max_depth = 32}));
  const JsonField root(json, path.string());
  ASSAY_TRY(refuse_unknown(root, known_fields()));
  ASSAY_ASSIGN(TaskInfo info, read_info(root));
  ASSAY_ASSIGN(DatasetManifest manifest, read_data(root, info.name, path.parent_path()));
  ASSAY_TRY(read_splits(root, manifest, info));
  ASSAY_ASSIGN(info.filters, read_filters(root));
  if (info.kind == RequestKind::multiple_choice && !info.filters.empty()) {
    return root.get("filter_list")->error("nothing here where output_type is multiple_choice");
  }
  ASSAY_TRY(read_metrics(root, info));
  ASSAY_TRY(read_generation(root, info));
  manifest.name = fmt::format("{} ({})", path.filename().string(),
                              sha256_hex(path.string() + "\n" + std::string(text)).substr(0, 12));
  info.dataset = info.dataset_path = manifest.name;
  info.definition_file = path.string();
  info.definition_sha256 = sha256_hex(text);
  Asking asking;
  ASSAY_TRY(read_asking(root, compile, info, asking));
  info.id_column = asking.id_column;
  TaskFile result;
  result.task = make_file_task(std::move(info), std::move(asking));
  result.manifest = std::move(manifest);
  for (const Json& shot : result.task->inline_shots()) {
    const Result<Question> question = result.task->ask(shot);
    if (!question.ok()) return question.status().with_context(path.string() + ": samples");
  }
  return result;
}

namespace {

// The paths to read, absolute, in order: files as named, folders by name.
Result<std::vector<Path>> paths_of(const Names& files, const Names& folders) {
  std::vector<Path> paths;
  for (const std::string& file : files) paths.emplace_back(file);
  for (const std::string& folder : folders) {
    ASSAY_ASSIGN(const Names names, real_files().list(folder));
    for (const std::string& name : names) {
      if (ends_with(name, ".json")) paths.push_back(Path(folder) / name);
    }
  }
  std::error_code error;
  for (Path& path : paths) path = std::filesystem::absolute(path, error).lexically_normal();
  return paths;
}

bool is_loaded(const Registry& registry, const std::string& file) {
  for (const std::string& name : registry.task_names()) {
    if (registry.find_task(name)->info().definition_file == file) return true;
  }
  return false;
}

Status add_groups(Registry& registry, const std::map<std::string, std::vector<const Task*>>& members) {
  for (const auto& [name, tasks] : members) {
    if (registry.find_group(name) || registry.find_task(name)) {
      return bad_data(fmt::format("{}: group: expected a name that no task or group has, found \"{}\"",
                                  tasks[0]->info().definition_file, name));
    }
    TaskGroup group = {.name = name, .alias = name, .version = "1", .metric = tasks[0]->info().primary_metric};
    for (const Task* task : tasks) {
      if (task->info().primary_metric != group.metric) {
        return bad_data(fmt::format("{}: primary_metric: expected {} as the others of group {}, found {}",
                                    task->info().definition_file, group.metric, name, task->info().primary_metric));
      }
      group.children.push_back(task->info().name);
    }
    registry.add(std::move(group));
  }
  return ok_status();
}

}  // namespace

Status add_task_files(Registry& registry, const Names& files, const Names& folders, const TemplateCompiler& compile) {
  ASSAY_ASSIGN(const std::vector<Path> paths, paths_of(files, folders));
  std::map<std::string, std::vector<const Task*>> groups;
  for (const Path& path : paths) {
    if (is_loaded(registry, path.string())) continue;
    ASSAY_ASSIGN(const std::string text, real_files().read(path, kMaxFileBytes));
    ASSAY_ASSIGN(TaskFile file, parse_task_file(text, path, compile));
    const std::string name = file.task->info().name;
    if (registry.find_task(name) || registry.find_group(name)) {
      return bad_data(
          fmt::format("{}: task: expected a name that no task or group has, found \"{}\"", path.string(), name));
    }
    if (!find_manifest(file.manifest.name).ok()) ASSAY_TRY(add_manifest(std::move(file.manifest)));
    registry.add(std::move(file.task));
    const Task* added = registry.find_task(name);
    if (!added->info().group.empty()) groups[added->info().group].push_back(added);
  }
  return add_groups(registry, groups);
}

}  // namespace assay
