#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tasks/task_file.h"

namespace assay {

// A text that a document's columns fill: a template, or, where it is a column's name, that column as it is.
struct FieldText {
  std::string source;
  TextTemplate rendered;
  std::optional<Json> constant;  // a number written in the file
};

// How a task file's documents become questions.
struct Asking {
  FieldText text, target;
  std::vector<FieldText> choices;   // one a choice; or one that gives the list of them
  bool choices_are_a_list = false;  // the latter
  std::string answer_prefix, id_column;
  std::vector<Json> shots;
};

std::unique_ptr<Task> make_file_task(TaskInfo info, Asking asking);

}  // namespace assay
