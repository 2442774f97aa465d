#include "evals/task/registry.h"

#include <doctest/doctest.h>

namespace assay {
namespace {

class NamedTask final : public Task {
 public:
  using Task::Task;
  Result<Question> ask(const Json&) const override { return Question{}; }
};

std::unique_ptr<Task> named(const std::string& name) {
  TaskInfo info;
  info.name = name;
  return std::make_unique<NamedTask>(info);
}

// school = {maths = {algebra, geometry}, history}; all = shorthand for everything.
Registry school() {
  Registry registry;
  for (const char* name : {"algebra", "geometry", "history", "sports"}) registry.add(named(name));
  registry.add(TaskGroup{.name = "maths", .children = {"algebra", "geometry"}});
  registry.add(TaskGroup{.name = "school", .children = {"maths", "history"}});
  registry.add(TaskGroup{.name = "all", .children = {"school", "sports"}, .is_tag = true});
  return registry;
}

std::vector<std::string> names_of(const Result<std::vector<const Task*>>& tasks) {
  REQUIRE_MESSAGE(tasks.ok(), tasks.status().message());
  std::vector<std::string> names;
  for (const Task* task : *tasks) names.push_back(task->info().name);
  return names;
}

using Names = std::vector<std::string>;

TEST_CASE("groups expand in order and each task comes once") {
  const Registry registry = school();
  CHECK(names_of(registry.expand({"school"})) == Names{"algebra", "geometry", "history"});
  CHECK(names_of(registry.expand({"history", "all", "algebra"})) == Names{"history", "algebra", "geometry", "sports"});
}

TEST_CASE("wildcards match task names") {
  const Registry registry = school();
  CHECK(names_of(registry.expand({"*o*"})) == Names{"geometry", "history", "sports"});
  CHECK(names_of(registry.expand({"?l*a"})) == Names{"algebra"});
  CHECK(registry.expand({"z*"}).status().code() == Code::not_found);
}

TEST_CASE("a mistyped name is refused, and the nearest one is named") {
  const Registry registry = school();
  const Status status = registry.expand({"algebar"}).status();
  CHECK(status.code() == Code::not_found);
  CHECK(status.message().find("\"algebra\"") != std::string::npos);
  CHECK(registry.expand({"shcool"}).status().message().find("\"school\"") != std::string::npos);
  CHECK(registry.expand({""}).status().code() == Code::not_found);
}

TEST_CASE("complete groups come outermost first, shorthands never") {
  const Registry registry = school();
  const auto complete = registry.complete_groups({"sports", "history", "geometry", "algebra"});
  REQUIRE(complete.size() == 2);
  CHECK(complete[0]->name == "school");
  CHECK(complete[1]->name == "maths");
  CHECK(registry.complete_groups({"algebra", "history"}).empty());
}

TEST_CASE("names are listed sorted") {
  const Registry registry = school();
  CHECK(registry.task_names() == Names{"algebra", "geometry", "history", "sports"});
  CHECK(registry.group_names() == Names{"all", "maths", "school"});
}

}  // namespace
}  // namespace assay
