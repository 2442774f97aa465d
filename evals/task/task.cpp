#include "evals/task/task.h"

#include <fmt/format.h>

namespace assay {
namespace {

std::string column_names(const Json& row) {
  std::string names;
  for (const auto& [name, value] : row.as_object()) names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "none" : names;
}

}  // namespace

const std::string& TaskInfo::shot_split() const {
  for (const std::string* split : {&fewshot_split, &training_split, &validation_split}) {
    if (!split->empty()) return *split;
  }
  return test_split;
}

Result<Json> select_columns(const Json& row, std::initializer_list<std::string_view> columns) {
  if (!row.is_object()) return bad_data("expected an object of named columns");
  Json document = Json::object();
  for (std::string_view column : columns) {
    const Json* value = row.find(column);
    if (!value) return bad_data(fmt::format("column \"{}\" is missing; there are: {}", column, column_names(row)));
    document.set(column, *value);
  }
  return document;
}

Result<Json> Task::to_document(const Json& row, std::string_view layout) const {
  if (layout != "hub") {
    return unsupported(
        fmt::format("{} does not know the row layout \"{}\" that the manifest names", info_.name, layout));
  }
  return row;
}

Result<Question> Task::ask_in(const Json& document, const AskContext&) const { return ask(document); }

GenerationSettings Task::generation_in(const AskContext&) const { return info_.generation; }

Result<CodeProblem> Task::code_problem(const Json&, const AskContext&) const {
  return internal_error(info_.name + " does not ask for programs");
}

Status Task::prepare(std::vector<Json>&, SplitRole) const { return ok_status(); }

}  // namespace assay
