#include "evals/scoring/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"
#include "engine/base/regex.h"
#include "engine/base/text_util.h"
#include "evals/scoring/extract.h"

namespace assay {
namespace {

bool is_ascii_punctuation(char c) {
  constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";  // Python's string.punctuation
  return kPunctuation.find(c) != std::string_view::npos;
}

Result<std::string> normalized(std::string_view text, const ExactMatch& options) {
  std::string result = replace_invalid_utf8(text);
  for (const std::string& pattern : options.regexes_to_ignore) {
    ASSAY_ASSIGN(Regex regex, Regex::compile(pattern));
    ASSAY_ASSIGN(result, regex.replace_all(result, ""));
  }
  if (options.ignore_case) result = py_lower(result);
  if (options.ignore_punctuation) std::erase_if(result, is_ascii_punctuation);
  return result;
}

Score failed(std::string reason) { return {.outcome = Outcome::failed, .reason = std::move(reason)}; }

// The sums divided by each choice's length.
template <class Length>
std::vector<double> per_length(const std::vector<double>& sums, const std::vector<std::string>& choices,
                               const Length& length) {
  std::vector<double> scaled;
  for (size_t i = 0; i < sums.size(); ++i) scaled.push_back(sums[i] / static_cast<double>(length(choices[i])));
  return scaled;
}

// The values that a metric's arg max is taken over; empty for a metric that is not one of these.
std::vector<double> ranked_by(std::string_view metric, const std::vector<double>& sums,
                              const std::vector<std::string>& choices) {
  if (metric == "acc") return sums;
  if (metric == "acc_norm") return per_length(sums, choices, [](const std::string& c) { return count_code_points(c); });
  if (metric == "acc_bytes") return per_length(sums, choices, [](const std::string& c) { return c.size(); });
  return {};
}

const std::vector<Filter>& filters_of(const TaskInfo& task) {
  static const std::vector<Filter> kFirst = {{.name = "none", .steps = {{.kind = FilterStep::Kind::take_first}}}};
  return task.filters.empty() ? kFirst : task.filters;
}

}  // namespace

Result<bool> exact_match(std::string_view prediction, std::string_view reference, const ExactMatch& options) {
  ASSAY_ASSIGN(std::string left, normalized(prediction, options));
  ASSAY_ASSIGN(std::string right, normalized(reference, options));
  return left == right;
}

int arg_max(const std::vector<double>& values) {
  ASSAY_CHECK(!values.empty());
  return static_cast<int>(std::max_element(values.begin(), values.end()) - values.begin());
}

Score judge_multiple_choice(const TaskInfo& task, const Question& question,
                            const std::vector<Loglikelihood>& loglikelihoods) {
  // Where contexts differ they are the choices, and lm-eval's lengths are theirs.
  const std::vector<std::string>& choices = question.contexts.empty() ? question.choices : question.contexts;
  if (loglikelihoods.size() != choices.size() || choices.empty()) {
    return failed(fmt::format("{} choices, but {} loglikelihoods", choices.size(), loglikelihoods.size()));
  }
  std::vector<double> sums;
  for (const Loglikelihood& loglikelihood : loglikelihoods) {
    if (std::isnan(loglikelihood.sum))
      return failed(fmt::format("the loglikelihood of choice {} is not a number", sums.size()));
    sums.push_back(loglikelihood.sum);
  }
  Score score;
  for (const MetricInfo& metric : task.metrics) {
    const std::vector<double> values = ranked_by(metric.name, sums, choices);
    if (!values.empty()) score.metrics.push_back({metric.name, "none", arg_max(values) == question.gold ? 1.0 : 0.0});
  }
  return score;
}

Score judge_loglikelihood(const TaskInfo& task, const std::vector<Loglikelihood>& loglikelihoods) {
  if (loglikelihoods.size() != 1) return failed(fmt::format("1 target, but {} loglikelihoods", loglikelihoods.size()));
  const Loglikelihood& answer = loglikelihoods[0];
  if (std::isnan(answer.sum)) return failed("the loglikelihood is not a number");
  Score score;
  for (const MetricInfo& metric : task.metrics) {
    if (metric.name == "acc") score.metrics.push_back({metric.name, "none", answer.is_greedy ? 1.0 : 0.0});
    if (metric.name == "perplexity") score.metrics.push_back({metric.name, "none", answer.sum});
  }
  return score;
}

int64_t count_words(std::string_view text) {
  int64_t words = 1;
  bool in_space = false;
  for (size_t i = 0; i < text.size();) {
    const bool space = is_unicode_space(next_code_point(text, i));
    words += space && !in_space;
    in_space = space;
  }
  return words;
}

Score judge_rolling(const TaskInfo& task, const std::vector<Loglikelihood>& windows, int64_t words, int64_t bytes) {
  double sum = 0;
  for (const Loglikelihood& window : windows) sum += window.sum;
  if (windows.empty() || std::isnan(sum)) return failed("the text's loglikelihood is not a number");
  Score score;
  for (const MetricInfo& metric : task.metrics) {
    const int64_t weight = metric.name == "word_perplexity" ? words : bytes;
    score.metrics.push_back({metric.name, "none", sum, static_cast<double>(weight)});
  }
  return score;
}

Score judge_generation(const TaskInfo& task, const Question& question, std::string_view text) {
  Score score;
  bool found = false;
  for (const Filter& filter : filters_of(task)) {
    Result<std::string> answer = apply_filter(filter, text, question.choices);
    if (!answer.ok()) return failed(answer.status().message());
    Result<bool> equal = exact_match(*answer, question.target, task.exact_match);
    if (!equal.ok()) return failed(equal.status().message());
    found |= *answer != kInvalidAnswer;
    score.extracted.push_back({filter.name, std::move(*answer)});
    score.metrics.push_back({"exact_match", filter.name, *equal ? 1.0 : 0.0});
  }
  score.outcome = found ? Outcome::scored : Outcome::no_answer;
  return score;
}

// Task's default, defined where the judges live: task.cpp lies below this room and may not include it.
Score Task::judge(const Sample& sample, const Response& response) const {
  if (info_.kind == RequestKind::multiple_choice)
    return judge_multiple_choice(info_, sample.question, response.loglikelihoods);
  if (info_.kind == RequestKind::generate_until) {
    if (response.completions.empty()) return failed("no completion came back");
    return judge_generation(info_, sample.question, response.completions[0].text);
  }
  if (info_.kind == RequestKind::loglikelihood) return judge_loglikelihood(info_, response.loglikelihoods);
  const std::string& text = sample.question.target;
  return judge_rolling(info_, response.loglikelihoods, count_words(text), static_cast<int64_t>(text.size()));
}

}  // namespace assay
