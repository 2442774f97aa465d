#include "evals/task/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/base/check.h"
#include "engine/base/text_util.h"

namespace assay {
namespace {

// Whether a name fits a pattern in which * stands for any run of characters and ? for one.
bool fits(std::string_view name, std::string_view pattern) {
  size_t n = 0, p = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool has_wildcard(std::string_view name) { return name.find_first_of("*?") != std::string_view::npos; }

}  // namespace

void Registry::add(std::unique_ptr<Task> task) {
  const std::string& name = task->info().name;
  ASSAY_CHECK(!tasks_.contains(name) && !groups_.contains(name));
  std::string key = name;
  tasks_.emplace(std::move(key), std::move(task));
}

void Registry::add(TaskGroup group) {
  ASSAY_CHECK(!tasks_.contains(group.name) && !groups_.contains(group.name));
  std::string key = group.name;
  groups_.emplace(std::move(key), std::move(group));
}

const Task* Registry::find_task(std::string_view name) const {
  auto found = tasks_.find(name);
  return found == tasks_.end() ? nullptr : found->second.get();
}

const TaskGroup* Registry::find_group(std::string_view name) const {
  auto found = groups_.find(name);
  return found == groups_.end() ? nullptr : &found->second;
}

std::vector<std::string> Registry::leaves(const TaskGroup& group) const {
  std::vector<std::string> names;
  for (const std::string& child : group.children) {
    if (const TaskGroup* inner = find_group(child)) {
      for (std::string& leaf : leaves(*inner)) names.push_back(std::move(leaf));
    } else {
      ASSAY_CHECK(find_task(child) != nullptr);
      names.push_back(child);
    }
  }
  return names;
}

Result<std::vector<const Task*>> Registry::expand(const std::vector<std::string>& names) const {
  std::vector<const Task*> tasks;
  std::set<const Task*> seen;
  auto take = [&](const std::string& leaf) {
    const Task* task = find_task(leaf);
    if (seen.insert(task).second) tasks.push_back(task);
  };
  for (const std::string& name : names) {
    std::vector<std::string> matches;
    if (has_wildcard(name)) {
      for (const auto& [task_name, task] : tasks_) {
        if (fits(task_name, name)) matches.push_back(task_name);
      }
    } else if (const TaskGroup* group = find_group(name)) {
      matches = leaves(*group);
    } else if (find_task(name)) {
      matches = {name};
    }
    if (matches.empty()) return unknown_name(name);
    std::for_each(matches.begin(), matches.end(), take);
  }
  return tasks;
}

Status Registry::unknown_name(const std::string& name) const {
  std::vector<std::string> known = task_names();
  for (std::string& group : group_names()) known.push_back(std::move(group));
  std::optional<std::string> near = nearest(name, known);
  std::string hint = near ? fmt::format("did you mean \"{}\"? ", *near) : "";
  return not_found(fmt::format("no task or group is named \"{}\"; {}`assay ls tasks` lists them all", name, hint));
}

std::vector<const TaskGroup*> Registry::complete_groups(const std::vector<std::string>& task_names) const {
  const std::set<std::string, std::less<>> present(task_names.begin(), task_names.end());
  std::vector<const TaskGroup*> complete;
  for (const auto& [name, group] : groups_) {
    if (group.is_tag) continue;
    const std::vector<std::string> members = leaves(group);
    bool all =
        std::all_of(members.begin(), members.end(), [&](const std::string& leaf) { return present.contains(leaf); });
    if (all) complete.push_back(&group);
  }
  // A group that holds another has more leaves; among equals the map's order by name stays.
  std::stable_sort(complete.begin(), complete.end(),
                   [&](const TaskGroup* a, const TaskGroup* b) { return leaves(*a).size() > leaves(*b).size(); });
  return complete;
}

std::vector<std::string> Registry::task_names() const {
  std::vector<std::string> names;
  for (const auto& [name, task] : tasks_) names.push_back(name);
  return names;
}

std::vector<std::string> Registry::group_names() const {
  std::vector<std::string> names;
  for (const auto& [name, group] : groups_) names.push_back(name);
  return names;
}

}  // namespace assay
