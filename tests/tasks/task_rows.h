#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tasks/all_tasks.h"

namespace assay::testing {

inline const Registry& all_tasks() {
  static const Registry registry = [] {
    Registry tasks;
    add_all_tasks(tasks);
    return tasks;
  }();
  return registry;
}

inline const Task& task_named(const std::string& name) {
  const Task* task = all_tasks().find_task(name);
  REQUIRE_MESSAGE(task != nullptr, name);
  return *task;
}

inline Json parsed(std::string_view text) {
  Result<Json> json = Json::parse(text, "test row");
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return std::move(json).value();
}

// One row as the task's document, prepared.
inline Json document_of(const std::string& task, std::string_view row, std::string_view layout = "hub") {
  Result<Json> document = task_named(task).to_document(parsed(row), layout);
  REQUIRE_MESSAGE(document.ok(), document.status().message());
  std::vector<Json> documents = {std::move(document).value()};
  REQUIRE(task_named(task).prepare(documents, SplitRole::evaluated).ok());
  return documents[0];
}

inline Question question_of(const std::string& task, std::string_view row, std::string_view layout = "hub") {
  Result<Question> question = task_named(task).ask(document_of(task, row, layout));
  REQUIRE_MESSAGE(question.ok(), question.status().message());
  return std::move(question).value();
}

// Why a row is refused.
inline std::string refusal(const std::string& task, std::string_view row, std::string_view layout = "hub") {
  Result<Json> document = task_named(task).to_document(parsed(row), layout);
  CHECK_FALSE(document.ok());
  CHECK(document.status().code() == Code::bad_data);
  return document.status().message();
}

}  // namespace assay::testing
