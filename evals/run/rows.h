#pragma once

#include <cstdint>
#include <vector>

#include "evals/data/fetch.h"
#include "evals/task/task.h"

namespace assay {

// A split's rows as documents, before Task::prepare.
struct CheckedRows {
  std::vector<Json> documents;
  int64_t skipped = 0;  // rows left out because they were bad
};

// Makes documents of rows and looks at every one: columns, answers, and that no two have the same id where the task
// names an id column. Errors: bad_data naming file and row (from 1), what was expected, and how many more are bad;
// with skip_bad_rows they are left out instead, each with a line in the log.
Result<CheckedRows> check_rows(const Task& task, const LoadedSplit& split, bool skip_bad_rows);

}  // namespace assay
