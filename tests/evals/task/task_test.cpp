#include "evals/task/task.h"

#include <doctest/doctest.h>

namespace assay {
namespace {

class PlainTask final : public Task {
 public:
  using Task::Task;
  Result<Question> ask(const Json&) const override { return Question{}; }
};

TEST_CASE("shots come from the first split that is defined: few-shot, training, validation, test") {
  TaskInfo info;
  info.test_split = "test";
  CHECK(info.shot_split() == "test");
  info.validation_split = "validation";
  CHECK(info.shot_split() == "validation");
  info.training_split = "train";
  CHECK(info.shot_split() == "train");
  info.fewshot_split = "dev";
  CHECK(info.shot_split() == "dev");
}

TEST_CASE("the evaluated split is test where defined, else validation") {
  TaskInfo info;
  info.validation_split = "validation";
  CHECK(info.eval_split() == "validation");
  info.test_split = "test";
  CHECK(info.eval_split() == "test");
}

TEST_CASE("columns are taken in the order asked for, and a missing one is named beside those that are there") {
  const Json row = Json::object().set("b", 2).set("extra", 0).set("a", 1);
  Result<Json> picked = select_columns(row, {"a", "b"});
  REQUIRE(picked.ok());
  CHECK(picked->dump() == R"({"a":1,"b":2})");
  const Status status = select_columns(row, {"a", "answer"}).status();
  CHECK(status.code() == Code::bad_data);
  CHECK(status.message() == "column \"answer\" is missing; there are: b, extra, a");
  CHECK(select_columns(Json("text"), {"a"}).status().code() == Code::bad_data);
}

TEST_CASE("a task that knows no layout but the Hub's refuses another by name") {
  TaskInfo info;
  info.name = "plain";
  const PlainTask task(info);
  CHECK(task.to_document(Json::object(), "hub").ok());
  const Status status = task.to_document(Json::object(), "tabs").status();
  CHECK(status.code() == Code::unsupported);
  CHECK(status.message().find("\"tabs\"") != std::string::npos);
}

}  // namespace
}  // namespace assay
