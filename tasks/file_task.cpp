#include "tasks/file_task.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/text_util.h"

namespace assay {
namespace {

bool is_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

class FileTask final : public Task {
 public:
  FileTask(TaskInfo info, Asking asking) : Task(std::move(info)), asking_(std::move(asking)) {}

  Result<Json> to_document(const Json& row, std::string_view layout) const override {
    if (!row.is_object()) return bad_data("expected an object of named columns");
    ASSAY_ASSIGN(Json document, Task::to_document(row, layout));
    ASSAY_TRY(ask(document));
    return document;
  }

  Result<Question> ask(const Json& document) const override {
    Question question;
    ASSAY_ASSIGN(const Json text, value_of(asking_.text, document, "doc_to_text"));
    ASSAY_ASSIGN(question.text, as_text(text, "doc_to_text"));
    ASSAY_ASSIGN(const Json target, value_of(asking_.target, document, "doc_to_target"));
    question.answer_prefix = asking_.answer_prefix;
    if (info().kind == RequestKind::generate_until) {
      ASSAY_ASSIGN(question.target, as_text(target, "doc_to_target"));
      return question;
    }
    ASSAY_ASSIGN(question.choices, choices_of(document));
    ASSAY_ASSIGN(question.gold, gold_of(target, question.choices));
    question.target = question.choices[static_cast<size_t>(question.gold)];
    return question;
  }

  std::vector<Json> inline_shots() const override { return asking_.shots; }

 private:
  static Status wrong(std::string_view field, const Json& found, std::string_view expected) {
    return bad_data(fmt::format("{}: expected {}, found {}", field, expected, excerpt(found.dump())));
  }

  static Result<Json> value_of(const FieldText& field, const Json& document, std::string_view name) {
    if (field.constant) return *field.constant;
    if (const Json* column = document.find(field.source)) {
      if (column->is_null()) return bad_data(fmt::format("{}: column \"{}\" is null", name, field.source));
      return *column;
    }
    Result<std::string> text = field.rendered(document);
    if (!text.ok()) return text.status();
    return Json(std::move(*text));
  }

  static Result<std::string> as_text(const Json& value, std::string_view name) {
    if (value.is_string()) return value.as_string();
    if (value.is_int()) return std::to_string(value.as_int());
    if (value.is_real()) return py_float_repr(value.as_real());
    return wrong(name, value, "a text or a number");
  }

  Result<std::vector<std::string>> choices_of(const Json& document) const {
    std::vector<std::string> choices;
    if (!asking_.choices_are_a_list) {
      for (const FieldText& field : asking_.choices) {
        ASSAY_ASSIGN(const Json value, value_of(field, document, "doc_to_choice"));
        ASSAY_ASSIGN(std::string choice, as_text(value, "doc_to_choice"));
        choices.push_back(std::move(choice));
      }
    } else {
      ASSAY_ASSIGN(Json list, value_of(asking_.choices[0], document, "doc_to_choice"));
      if (list.is_string()) {
        Result<Json> parsed = Json::parse(list.as_string(), "doc_to_choice");
        if (!parsed.ok()) return wrong("doc_to_choice", list, "a list, or the JSON text of one");
        list = std::move(*parsed);
      }
      if (!list.is_array() || list.size() < 2) return wrong("doc_to_choice", list, "a list of at least two choices");
      for (const Json& item : list.as_array()) {
        ASSAY_ASSIGN(std::string choice, as_text(item, "doc_to_choice"));
        choices.push_back(std::move(choice));
      }
    }
    const bool empty = std::any_of(choices.begin(), choices.end(), [](const auto& choice) { return choice.empty(); });
    return empty ? Result<std::vector<std::string>>(bad_data("doc_to_choice: a choice is empty")) : choices;
  }

  // An index from 0; else the text of a choice; else its letter.
  static Result<int> gold_of(const Json& target, const std::vector<std::string>& choices) {
    const auto count = static_cast<int64_t>(choices.size());
    std::optional<int64_t> gold;
    if (target.is_int()) gold = target.as_int();
    if (target.is_string() && is_digits(target.as_string())) gold = parse_int(target.as_string());
    if (!gold && target.is_string()) {
      const std::string& text = target.as_string();
      const auto found = std::find(choices.begin(), choices.end(), text);
      if (found != choices.end()) {
        gold = found - choices.begin();
      } else if (text.size() == 1 && text[0] >= 'A' && text[0] <= 'Z') {
        gold = text[0] - 'A';
      }
    }
    if (gold && *gold >= 0 && *gold < count) return static_cast<int>(*gold);
    return wrong("doc_to_target", target,
                 fmt::format("an index from 0 to {}, a letter from A to {}, or the text of a choice", count - 1,
                             static_cast<char>('A' + std::min<int64_t>(count, 26) - 1)));
  }

  Asking asking_;
};

}  // namespace

std::unique_ptr<Task> make_file_task(TaskInfo info, Asking asking) {
  return std::make_unique<FileTask>(std::move(info), std::move(asking));
}

}  // namespace assay
