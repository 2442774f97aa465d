#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evals/run/plan.h"
#include "evals/scoring/metrics.h"
#include "evals/task/task.h"

namespace assay::testing {

// A multiple-choice benchmark over documents {"question", "choices", "answer"} made on the spot.
class ToyChoiceTask : public Task {
 public:
  static TaskInfo make_info(const std::string& name) {
    TaskInfo info;
    info.name = info.alias = name;
    info.version = "1.0";
    info.dataset = "toy";
    info.validation_split = "validation";
    info.metrics = {{"acc"}, {"acc_norm"}};
    info.primary_metric = "acc,none";
    return info;
  }
  explicit ToyChoiceTask(const std::string& name) : Task(make_info(name)) {}
  Result<Question> ask(const Json& document) const override {
    Question question;
    question.text = document.find("question")->as_string();
    for (const Json& choice : document.find("choices")->as_array()) question.choices.push_back(choice.as_string());
    question.gold = static_cast<int>(document.find("answer")->as_int());
    question.target = question.choices[static_cast<size_t>(question.gold)];
    return question;
  }
};

// The same with worked examples of its own, which lack what a question has.
class ToyTaskWithShots final : public ToyChoiceTask {
 public:
  using ToyChoiceTask::ToyChoiceTask;
  Result<Question> ask(const Json& document) const override {
    if (!document.find("choices")) return bad_data("choices: expected a value, found none");
    return ToyChoiceTask::ask(document);
  }
  Result<Question> ask_shot(const Json& document) const override {
    Question shot;
    shot.text = document.find("worked")->as_string();
    shot.target = "done";
    return shot;
  }
  std::vector<Json> inline_shots() const override {
    return {Json::object().set("worked", "first example"), Json::object().set("worked", "second example")};
  }
};

// Texts to roll over: documents {"page"}.
class ToyRollingTask final : public Task {
 public:
  static TaskInfo make_info(const std::string& name) {
    TaskInfo info;
    info.name = info.alias = name;
    info.version = "1.0";
    info.dataset = "toy";
    info.validation_split = "validation";
    info.kind = RequestKind::loglikelihood_rolling;
    info.metrics = {{"word_perplexity", false, "weighted_perplexity"}, {"bits_per_byte", false, "bits_per_byte"}};
    info.primary_metric = "word_perplexity,none";
    return info;
  }
  explicit ToyRollingTask(const std::string& name) : Task(make_info(name)) {}
  Result<Question> ask(const Json& document) const override {
    return Question{.target = document.find("page")->as_string()};
  }
};

// `count` texts of growing length.
inline PlannedTask plan_rolling(const Task& task, int64_t count) {
  PlannedTask planned;
  planned.task = &task;
  std::string page = "it was";
  for (int64_t i = 0; i < count; ++i) {
    page += " and then number " + std::to_string(i);
    planned.documents.push_back(Json::object().set("page", page));
    planned.doc_ids.push_back(i);
    planned.shots.emplace_back();
  }
  planned.stored.name = planned.stored.alias = task.info().name;
  planned.stored.version = "1.0";
  planned.stored.info = task_info_to_json(task.info());
  planned.stored.primary_metric = task.info().primary_metric;
  planned.stored.higher_is_better = false;
  planned.stored.split = "validation";
  planned.stored.data_sha256 = "toy";
  planned.stored.rows = planned.stored.planned = count;
  return planned;
}

// `count` documents, all different.
inline PlannedTask plan_toy(const Task& task, int64_t count) {
  PlannedTask planned;
  planned.task = &task;
  for (int64_t i = 0; i < count; ++i) {
    Json choices = Json::array();
    for (const char* choice : {"red", "green", "bluish", "y"}) choices.push_back(choice);
    planned.documents.push_back(Json::object()
                                    .set("question", task.info().name + " question " + std::to_string(i))
                                    .set("choices", choices)
                                    .set("answer", i % 4));
    planned.doc_ids.push_back(i);
    planned.shots.emplace_back();
  }
  planned.stored.name = planned.stored.alias = task.info().name;
  planned.stored.version = "1.0";
  planned.stored.info = task_info_to_json(task.info());
  planned.stored.primary_metric = "acc,none";
  planned.stored.split = "validation";
  planned.stored.data_sha256 = "toy";
  planned.stored.rows = planned.stored.planned = count;
  return planned;
}

}  // namespace assay::testing
