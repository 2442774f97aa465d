#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "evals/task/task.h"

namespace assay {

// A named set of tasks and groups, scored together.
struct TaskGroup {
  std::string name;   // "mmlu", "mmlu_stem"
  std::string alias;  // "stem"
  std::string version;
  std::vector<std::string> children;  // tasks or groups, in table order
  std::string metric;                 // aggregated over leaves: "acc,none"
  bool weight_by_size = true;         // micro average; false: mean of the children
  bool is_tag = false;                // only a shorthand (a suite): no score of its own
};

// Every task and group by name. Filled once at start, then read-only and thread-safe.
class Registry {
 public:
  void add(std::unique_ptr<Task> task);
  void add(TaskGroup group);

  const Task* find_task(std::string_view name) const;
  const TaskGroup* find_group(std::string_view name) const;
  // Leaf tasks that the names stand for, groups expanded in order, each once. A name may hold the wildcards * and ?,
  // which match task names. Errors: not_found with the nearest name.
  Result<std::vector<const Task*>> expand(const std::vector<std::string>& names) const;
  // The groups whose leaves are all in `task_names`, outermost first.
  std::vector<const TaskGroup*> complete_groups(const std::vector<std::string>& task_names) const;
  std::vector<std::string> leaves(const TaskGroup& group) const;
  std::vector<std::string> task_names() const;   // sorted
  std::vector<std::string> group_names() const;  // sorted

 private:
  Status unknown_name(const std::string& name) const;
  std::map<std::string, std::unique_ptr<Task>, std::less<>> tasks_;
  std::map<std::string, TaskGroup, std::less<>> groups_;
};

}  // namespace assay
