#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "evals/data/manifest.h"
#include "evals/task/registry.h"

namespace assay {

// A template ready to be rendered with a document's columns as variables; a column that is missing is an error.
using TextTemplate = std::function<Result<std::string>(const Json& columns)>;
// Makes one of a Jinja text. `name` says in errors which field it is. The roof passes the engine's: a benchmark may not
// see it.
using TemplateCompiler = std::function<Result<TextTemplate>(std::string_view source, std::string_view name)>;

// A benchmark that a JSON file defines (docs/task_files.md), and where its rows lie.
struct TaskFile {
  std::unique_ptr<Task> task;
  DatasetManifest manifest;
};

// Reads one definition; `path` is where it lies: data paths start from its folder. Nothing else is opened. Any bytes
// give a task or one error. Errors: bad_data naming file, field, what was found and what was expected; an unknown field
// with the nearest known one.
Result<TaskFile> parse_task_file(std::string_view text, const Path& path, const TemplateCompiler& compile);

// Adds the tasks of files, and of every *.json in folders, to the registry, their data to the known manifests, and a
// group for tasks that name one. A file that was added before is passed over. Errors: of parse_task_file; bad_data for
// a name that another task has, or a group whose tasks are scored by different metrics. Not thread-safe.
Status add_task_files(Registry& registry, const std::vector<std::string>& files,
                      const std::vector<std::string>& folders, const TemplateCompiler& compile);

}  // namespace assay
