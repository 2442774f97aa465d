#include "tasks/ifeval/instructions.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "engine/base/text_util.h"
#include "tasks/ifeval/language.h"
#include "tasks/ifeval/patterns.h"
#include "tasks/ifeval/python_json.h"
#include "tasks/ifeval/sentences.h"

namespace assay::ifeval {
namespace {

constexpr RegexOptions kAnyCase = {.ignore_case = true};

// A pattern that came with the data. What is no pattern stands for itself.
std::shared_ptr<const Regex> given_pattern(std::string_view text, const RegexOptions& options = {}) {
  Result<Regex> regex = Regex::compile(text, options);
  if (!regex.ok()) regex = Regex::compile(regex_escape(text), options);
  return std::make_shared<const Regex>(std::move(regex).value());
}

bool is_blank(std::string_view text) { return py_strip(text).empty(); }

std::string_view without_prefix(std::string_view text, std::string_view prefix) {
  return starts_with(text, prefix) ? text.substr(prefix.size()) : text;
}
std::string_view without_suffix(std::string_view text, std::string_view suffix) {
  return ends_with(text, suffix) ? text.substr(0, text.size() - suffix.size()) : text;
}

// Arguments ---------------------------------------------------------------------------------------------------------

Result<int64_t> number(const JsonField& arguments, std::string_view key) { return arguments.get_int(key, 1); }

Result<std::string> text(const JsonField& arguments, std::string_view key) {
  ASSAY_ASSIGN(std::string value, arguments.get_string(key));
  if (value.empty()) return arguments.get(key)->error("a text that is not empty");
  return value;
}

Result<std::vector<std::string>> texts(const JsonField& arguments, std::string_view key) {
  ASSAY_ASSIGN(const JsonField list, arguments.get(key));
  ASSAY_ASSIGN(const auto items, list.items());
  if (items.empty()) return list.error("a list that is not empty");
  std::vector<std::string> values;
  for (const JsonField& item : items) {
    ASSAY_ASSIGN(std::string value, item.as_string());
    values.push_back(std::move(value));
  }
  return values;
}

// "less than" or "at least" a number.
struct Bound {
  bool less = false;
  int64_t limit = 0;
  bool holds(size_t count) const {
    return less ? static_cast<int64_t>(count) < limit : static_cast<int64_t>(count) >= limit;
  }
};

Result<Bound> bound(const JsonField& arguments, std::string_view relation_key, std::string_view limit_key) {
  ASSAY_ASSIGN(const std::string relation, arguments.get_string(relation_key));
  if (relation != "less than" && relation != "at least") {
    return arguments.get(relation_key)->error("\"less than\" or \"at least\"");
  }
  ASSAY_ASSIGN(const int64_t limit, number(arguments, limit_key));
  return Bound{relation == "less than", limit};
}

// Words -------------------------------------------------------------------------------------------------------------

Result<Check> keywords_existence(const JsonField& arguments) {
  ASSAY_ASSIGN(const auto keywords, texts(arguments, "keywords"));
  std::vector<std::shared_ptr<const Regex>> wanted;
  for (const std::string& keyword : keywords) wanted.push_back(given_pattern(keyword, kAnyCase));
  return Check([wanted](const std::string& response) {
    return std::all_of(wanted.begin(), wanted.end(),
                       [&](const auto& keyword) { return !matches_in(*keyword, response).empty(); });
  });
}

Result<Check> keywords_frequency(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string keyword, text(arguments, "keyword"));
  ASSAY_ASSIGN(const Bound wanted, bound(arguments, "relation", "frequency"));
  const auto regex = given_pattern(py_strip(keyword), kAnyCase);
  return Check([=](const std::string& response) { return wanted.holds(matches_in(*regex, response).size()); });
}

Result<Check> forbidden_words(const JsonField& arguments) {
  ASSAY_ASSIGN(const auto words, texts(arguments, "forbidden_words"));
  std::vector<std::shared_ptr<const Regex>> refused;
  for (const std::string& word : words) refused.push_back(given_pattern("\\b" + word + "\\b", kAnyCase));
  return Check([refused](const std::string& response) {
    return std::all_of(refused.begin(), refused.end(),
                       [&](const auto& word) { return matches_in(*word, response).empty(); });
  });
}

Result<Check> letter_frequency(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string letter, text(arguments, "letter"));
  ASSAY_ASSIGN(const Bound wanted, bound(arguments, "let_relation", "let_frequency"));
  if (count_code_points(letter) != 1) return arguments.get("letter")->error("one character");
  const std::string small = py_lower(letter);
  return Check([=](const std::string& response) {
    const std::string lower = py_lower(response);
    size_t count = 0;
    for (size_t i = lower.find(small); i != std::string::npos; i = lower.find(small, i + small.size())) ++count;
    return wanted.holds(count);
  });
}

Result<Check> number_words(const JsonField& arguments) {
  ASSAY_ASSIGN(const Bound wanted, bound(arguments, "relation", "num_words"));
  return Check([=](const std::string& response) { return wanted.holds(count_words(response)); });
}

Result<Check> number_sentences(const JsonField& arguments) {
  ASSAY_ASSIGN(const Bound wanted, bound(arguments, "relation", "num_sentences"));
  return Check([=](const std::string& response) { return wanted.holds(sentences_of(response).size()); });
}

Result<Check> capital_words(const JsonField& arguments) {
  ASSAY_ASSIGN(const Bound wanted, bound(arguments, "capital_relation", "capital_frequency"));
  return Check([=](const std::string& response) {
    const auto words = treebank_words(response);
    return wanted.holds(static_cast<size_t>(
        std::count_if(words.begin(), words.end(), [](const std::string& word) { return py_isupper(word); })));
  });
}

// Paragraphs and sections ---------------------------------------------------------------------------------------------

// Pieces between dividers; a blank piece counts nothing at either end and spoils the text between two others.
bool holds_pieces(const std::vector<std::string_view>& pieces, int64_t wanted) {
  auto count = static_cast<int64_t>(pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (!is_blank(pieces[i])) continue;
    if (i != 0 && i + 1 != pieces.size()) return false;
    --count;
  }
  return count == wanted;
}

Result<Check> number_paragraphs(const JsonField& arguments) {
  ASSAY_ASSIGN(const int64_t wanted, number(arguments, "num_paragraphs"));
  return Check([=](const std::string& response) {
    static const Regex kDivider = pattern(R"(\s?\*\*\*\s?)");
    return holds_pieces(split_at(kDivider, response), wanted);
  });
}

// The first word of a paragraph, up to its first punctuation mark, in lower case.
std::string first_word_of(std::string_view paragraph) {
  std::string_view word = words_of(paragraph).front();
  while (starts_with(word, "'")) word.remove_prefix(1);
  while (starts_with(word, "\"")) word.remove_prefix(1);
  return py_lower(word.substr(0, word.find_first_of(".,?!'\"")));
}

Result<Check> nth_paragraph_first_word(const JsonField& arguments) {
  ASSAY_ASSIGN(const int64_t total, number(arguments, "num_paragraphs"));
  ASSAY_ASSIGN(const int64_t nth, arguments.get_int("nth_paragraph", 1, total));
  ASSAY_ASSIGN(const std::string word, text(arguments, "first_word"));
  return Check([=](const std::string& response) {
    const std::vector<std::string> paragraphs = split(response, "\n\n");
    const auto count = std::count_if(paragraphs.begin(), paragraphs.end(), [](const auto& p) { return !is_blank(p); });
    if (nth > count) return false;
    const std::string& chosen = paragraphs[static_cast<size_t>(nth - 1)];
    return !is_blank(chosen) && count == total && first_word_of(chosen) == py_lower(word);
  });
}

Result<Check> multiple_sections(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string mark, text(arguments, "section_spliter"));
  ASSAY_ASSIGN(const int64_t wanted, number(arguments, "num_sections"));
  const auto regex = given_pattern("\\s?" + std::string(py_strip(mark)) + "\\s?\\d+\\s?");
  return Check(
      [=](const std::string& response) { return static_cast<int64_t>(matches_in(*regex, response).size()) >= wanted; });
}

bool two_responses(const std::string& response) {
  const std::vector<std::string> pieces = split(response, "******");
  std::vector<std::string_view> answers;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view piece = py_strip(pieces[i]);
    if (!piece.empty()) {
      answers.push_back(piece);
    } else if (i != 0 && i + 1 != pieces.size()) {
      return false;
    }
  }
  return answers.size() == 2 && answers[0] != answers[1];
}

// Marks ---------------------------------------------------------------------------------------------------------------

Result<Check> number_placeholders(const JsonField& arguments) {
  ASSAY_ASSIGN(const int64_t wanted, number(arguments, "num_placeholders"));
  return Check([=](const std::string& response) {
    static const Regex kPlaceholder = pattern(R"(\[.*?\])");
    return static_cast<int64_t>(matches_in(kPlaceholder, response).size()) >= wanted;
  });
}

Result<Check> number_bullets(const JsonField& arguments) {
  ASSAY_ASSIGN(const int64_t wanted, number(arguments, "num_bullets"));
  return Check([=](const std::string& response) {
    static const Regex kStar = pattern(R"((?m)^\s*\*[^*].*$)"), kDash = pattern(R"((?m)^\s*-.*$)");
    return static_cast<int64_t>(matches_in(kStar, response).size() + matches_in(kDash, response).size()) == wanted;
  });
}

Result<Check> number_highlights(const JsonField& arguments) {
  ASSAY_ASSIGN(const int64_t wanted, number(arguments, "num_highlights"));
  return Check([=](const std::string& response) {
    static const Regex kSingle = pattern(R"(\*[^\n*]*\*)"), kDouble = pattern(R"(\*\*[^\n*]*\*\*)");
    int64_t count = 0;
    for (const std::string& found : found_in(kSingle, response)) count += !is_blank(stripped_of(found, '*'));
    for (const std::string& found : found_in(kDouble, response)) {
      count += !is_blank(without_suffix(without_prefix(found, "**"), "**"));
    }
    return count >= wanted;
  });
}

Result<Check> postscript(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string marker, text(arguments, "postscript_marker"));
  const std::string mark(py_strip(marker));
  const std::string form = mark == "P.P.S"  ? R"((?m)\s*p\.\s?p\.\s?s.*$)"
                           : mark == "P.S." ? R"((?m)\s*p\.\s?s\..*$)"
                                            : "(?m)\\s*" + py_lower(mark) + ".*$";
  const auto regex = given_pattern(form);
  return Check([=](const std::string& response) { return !matches_in(*regex, py_lower(response)).empty(); });
}

bool has_title(const std::string& response) {
  static const Regex kTitle = pattern(R"(<<[^\n]+>>)");
  for (const std::string& found : found_in(kTitle, response)) {
    const size_t begin = found.find_first_not_of('<');
    if (begin == std::string::npos) continue;
    if (!is_blank(found.substr(begin, found.find_last_not_of('>') + 1 - begin))) return true;
  }
  return false;
}

bool is_fenced_json(const std::string& response) {
  std::string_view text = py_strip(response);
  for (std::string_view fence : {"```json", "```Json", "```JSON", "```"}) text = without_prefix(text, fence);
  return is_python_json(py_strip(without_suffix(text, "```")));
}

bool is_quoted(const std::string& response) {
  const std::string_view text = py_strip(response);
  return text.size() > 1 && text.front() == '"' && text.back() == '"';
}

bool is_one_of_three(const std::string& response) {
  return response.find("My answer is yes.") != std::string::npos ||
         response.find("My answer is no.") != std::string::npos ||
         response.find("My answer is maybe.") != std::string::npos;
}

// Beginnings, endings, language ---------------------------------------------------------------------------------------

Result<Check> repeat_prompt(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string prompt, text(arguments, "prompt_to_repeat"));
  const std::string wanted = py_lower(py_strip(prompt));
  return Check([=](const std::string& response) { return starts_with(py_lower(py_strip(response)), wanted); });
}

Result<Check> end_phrase(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string phrase, text(arguments, "end_phrase"));
  const std::string wanted = py_lower(py_strip(phrase));
  return Check(
      [=](const std::string& response) { return ends_with(py_lower(stripped_of(py_strip(response), '"')), wanted); });
}

// A text in which no language can be found counts as following.
bool is_language(const std::string& response, const std::string& wanted) {
  const std::optional<std::string> found = detect_language(response);
  return !found || *found == wanted;
}

Result<Check> response_language(const JsonField& arguments) {
  ASSAY_ASSIGN(const std::string language, text(arguments, "language"));
  return Check([=](const std::string& response) { return is_language(response, language); });
}

using Maker = std::function<Result<Check>(const JsonField& arguments)>;

Maker plain(bool (*check)(const std::string&)) {
  return [check](const JsonField&) -> Result<Check> { return Check(check); };
}

const std::map<std::string, Maker>& makers() {
  static const std::map<std::string, Maker> kMakers = {
      {"keywords:existence", keywords_existence},
      {"keywords:frequency", keywords_frequency},
      {"keywords:forbidden_words", forbidden_words},
      {"keywords:letter_frequency", letter_frequency},
      {"language:response_language", response_language},
      {"length_constraints:number_sentences", number_sentences},
      {"length_constraints:number_paragraphs", number_paragraphs},
      {"length_constraints:number_words", number_words},
      {"length_constraints:nth_paragraph_first_word", nth_paragraph_first_word},
      {"detectable_content:number_placeholders", number_placeholders},
      {"detectable_content:postscript", postscript},
      {"detectable_format:number_bullet_lists", number_bullets},
      {"detectable_format:constrained_response", plain(is_one_of_three)},
      {"detectable_format:number_highlighted_sections", number_highlights},
      {"detectable_format:multiple_sections", multiple_sections},
      {"detectable_format:json_format", plain(is_fenced_json)},
      {"detectable_format:title", plain(has_title)},
      {"combination:two_responses", plain(two_responses)},
      {"combination:repeat_prompt", repeat_prompt},
      {"startend:end_checker", end_phrase},
      {"startend:quotation", plain(is_quoted)},
      {"change_case:capital_word_frequency", capital_words},
      {"change_case:english_capital",
       plain([](const std::string& response) { return py_isupper(response) && is_language(response, "en"); })},
      {"change_case:english_lowercase",
       plain([](const std::string& response) { return py_islower(response) && is_language(response, "en"); })},
      {"punctuation:no_comma", plain([](const std::string& r) { return r.find(',') == std::string::npos; })},
  };
  return kMakers;
}

}  // namespace

Result<Check> make_check(const std::string& id, const JsonField& arguments) {
  const auto maker = makers().find(id);
  if (maker != makers().end()) return maker->second(arguments);
  const std::optional<std::string> near = nearest(id, instruction_ids());
  return bad_data(fmt::format("instruction_id_list: \"{}\" is not one of the benchmark's 25 instructions{}",
                              escape_controls(id), near ? fmt::format("; did it mean \"{}\"?", *near) : ""));
}

std::vector<std::string> instruction_ids() {
  std::vector<std::string> ids;
  for (const auto& [id, maker] : makers()) ids.push_back(id);
  return ids;
}

}  // namespace assay::ifeval
