#include "evals/run/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/base/json.h"
#include "engine/base/text_util.h"
#include "evals/prompt/lint.h"
#include "evals/scoring/extract.h"

namespace assay {
namespace {

using Severity = StoredFinding::Severity;

constexpr int64_t kEnoughForChance = 100;  // below it almost any score is within chance's interval
constexpr int64_t kEnoughForShares = 20;
constexpr double kOneAnswerShare = 0.9;
constexpr double kNotableShare = 0.05;

// One question of the same kind as others: what is counted over a scope.
struct ScopeFacts {
  int64_t items = 0, failed = 0, skipped = 0, no_answer = 0;
  std::string first_failure;         // its reason
  std::map<uint32_t, int64_t> lint;  // by bit
  // multiple choice
  int64_t choice_items = 0, ties = 0;
  double chance_sum = 0, score_sum = 0;
  int64_t scored_by_choice = 0;
  std::map<size_t, int64_t> chosen;
  // generation
  int64_t completions = 0, cut_by_length = 0, ended_by_eos = 0, empty = 0;
  std::map<std::string, int64_t> stops;
  std::map<std::string, int64_t> not_extracted;                   // by filter
  std::map<std::string, std::map<std::string, int64_t>> answers;  // by filter
};

double percent(int64_t part, int64_t whole) {
  return whole ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

void count_choices(const StoredTask& task, const StoredItem& item, ScopeFacts& facts) {
  const auto& answers = item.response.loglikelihoods;
  if (answers.size() < 2) return;
  ++facts.choice_items;
  size_t best = 0;
  bool all_equal = true;
  for (size_t i = 1; i < answers.size(); ++i) {
    if (answers[i].sum > answers[best].sum) best = i;
    all_equal &= answers[i].sum == answers[0].sum;
  }
  ++facts.chosen[best];
  facts.ties += all_equal;
  if (!starts_with(task.primary_metric, "acc")) return;
  for (const MetricValue& metric : item.score.metrics) {
    if (metric.name + "," + metric.filter != task.primary_metric) continue;
    ++facts.scored_by_choice;
    facts.score_sum += metric.value;
    facts.chance_sum += 1 / static_cast<double>(answers.size());
  }
}

// Beside answers that a metric judges, a score may keep notes, such as the isolation that programs ran under.
bool is_judged(const Score& score, const std::string& filter) {
  return std::any_of(score.metrics.begin(), score.metrics.end(),
                     [&](const MetricValue& metric) { return metric.filter == filter; });
}

void count_completions(const StoredItem& item, ScopeFacts& facts) {
  for (const Completion& completion : item.response.completions) {
    ++facts.completions;
    facts.empty += py_strip(completion.text).empty();
    if (completion.tokens.empty()) continue;  // imported: how it ended is not known
    if (completion.finish == FinishReason::length) ++facts.cut_by_length;
    if (completion.finish == FinishReason::stop_string) ++facts.stops[completion.stop_match];
    if (completion.finish == FinishReason::stop_token) ++facts.ended_by_eos;
  }
  for (const Extracted& extracted : item.score.extracted) {
    if (extracted.text == kInvalidAnswer) {
      ++facts.not_extracted[extracted.filter];
    } else if (is_judged(item.score, extracted.filter)) {
      ++facts.answers[extracted.filter][extracted.text];
    }
  }
}

void count_item(const StoredTask& task, const StoredItem& item, ScopeFacts& facts) {
  ++facts.items;
  if (item.score.outcome == Outcome::failed && facts.failed++ == 0) facts.first_failure = item.score.reason;
  facts.skipped += item.score.outcome == Outcome::skipped;
  facts.no_answer += item.score.outcome == Outcome::no_answer;
  for (const uint32_t bit : {kTwoBos, kSpecialInText, kBoundaryMerge, kTruncated, kSystemDropped}) {
    if (item.lint & bit) ++facts.lint[bit];
  }
  count_choices(task, item, facts);
  count_completions(item, facts);
}

// The findings of one scope, in order of asking.
class ScopeReport {
 public:
  ScopeReport(std::string scope, const ScopeFacts& facts, std::vector<StoredFinding>& out)
      : scope_(std::move(scope)), facts_(facts), out_(out) {}

  void write() {
    write_lint();
    write_outcomes();
    if (facts_.choice_items > 0) write_choices();
    if (facts_.completions > 0) write_completions();
  }
  void write_lint() {
    lint(kTwoBos, "two_bos", Severity::serious,
         "begin with two beginning-of-sequence tokens: the template writes one and something adds another");
    lint(kSpecialInText, "special_in_text", Severity::warning,
         "hold a special token's spelling inside question or shots, which the model reads as that token");
    lint(kBoundaryMerge, "boundary_merge", Severity::warning,
         "have a token that spans context and continuation, so the scored tokens are not all of the continuation's");
    lint(kTruncated, "truncated_context", Severity::warning,
         "were cut from the left to fit the context: fewer shots, or a larger --max-length");
    lint(kSystemDropped, "system_dropped", Severity::info,
         "went without their system message, which the chat template refuses");
  }

 private:
  void add(std::string code, Severity severity, int64_t affected, int64_t total, std::string text) {
    out_.push_back({scope_, std::move(code), severity, affected, total, std::move(text)});
  }

  void lint(uint32_t bit, const char* code, Severity severity, const char* what) {
    const auto found = facts_.lint.find(bit);
    if (found == facts_.lint.end()) return;
    add(code, severity, found->second, facts_.items,
        fmt::format("{} of {} prompts {}", with_thousands(found->second), with_thousands(facts_.items), what));
  }

  void write_outcomes() {
    if (facts_.failed > 0)
      add("failed", Severity::warning, facts_.failed, facts_.items,
          fmt::format("{} of {} questions failed and count in no score ({}): `assay resume` asks them again",
                      with_thousands(facts_.failed), with_thousands(facts_.items), facts_.first_failure));
    if (facts_.skipped > 0)
      add("skipped", Severity::warning, facts_.skipped, facts_.items,
          fmt::format("{} of {} questions were skipped and count in no score", with_thousands(facts_.skipped),
                      with_thousands(facts_.items)));
  }

  void write_choices() {
    write_chance();
    const auto most = std::max_element(facts_.chosen.begin(), facts_.chosen.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    const auto count = static_cast<double>(facts_.choice_items);
    if (facts_.choice_items >= kEnoughForShares && static_cast<double>(most->second) >= kOneAnswerShare * count)
      add("one_answer", Severity::warning, most->second, facts_.choice_items,
          fmt::format("{:.1f} % of the answers are choice {} of the list: the scores say little about the questions",
                      percent(most->second, facts_.choice_items), most->first + 1));
    if (facts_.ties > 0)
      add("equal_choices", Severity::warning, facts_.ties, facts_.choice_items,
          fmt::format("{} of {} questions have equal log-likelihoods for every choice, so the first was taken",
                      with_thousands(facts_.ties), with_thousands(facts_.choice_items)));
  }

  void write_chance() {
    if (facts_.scored_by_choice < kEnoughForChance) return;
    const auto n = static_cast<double>(facts_.scored_by_choice);
    const double chance = facts_.chance_sum / n, score = facts_.score_sum / n;
    const double width = 1.96 * std::sqrt(chance * (1 - chance) / n);
    if (std::abs(score - chance) > width) return;
    add("chance_level", Severity::warning, facts_.scored_by_choice, facts_.items,
        fmt::format("{:.1f} % is what guessing gives ({:.1f} % ± {:.1f}): a weak model, or prompts it was not made for",
                    100 * score, 100 * chance, 100 * width));
  }

  void write_completions() {
    for (const auto& [filter, count] : facts_.not_extracted) write_not_extracted(filter, count);
    for (const auto& [filter, answers] : facts_.answers) write_one_text(filter, answers);
    if (facts_.empty > 0)
      add("empty_answer", notable(facts_.empty), facts_.empty, facts_.completions,
          fmt::format("{:.1f} % of the generations are empty", percent(facts_.empty, facts_.completions)));
    if (facts_.cut_by_length > 0)
      add("cut_by_length", notable(facts_.cut_by_length), facts_.cut_by_length, facts_.completions,
          fmt::format("{:.1f} % of the generations were cut by max tokens; --gen-kwargs max_gen_toks=N allows more",
                      percent(facts_.cut_by_length, facts_.completions)));
    for (const auto& [stop, count] : facts_.stops)
      add("stopped_by", Severity::info, count, facts_.completions,
          fmt::format("{:.1f} % of the generations ended at the stop string {}", percent(count, facts_.completions),
                      Json(excerpt(stop)).dump()));
    if (facts_.ended_by_eos > 0)
      add("ended", Severity::info, facts_.ended_by_eos, facts_.completions,
          fmt::format("{:.1f} % of the generations ended by themselves",
                      percent(facts_.ended_by_eos, facts_.completions)));
  }

  void write_not_extracted(const std::string& filter, int64_t count) {
    const bool much = static_cast<double>(count) > kNotableShare * static_cast<double>(facts_.items);
    add("not_extracted", much ? Severity::warning : Severity::info, count, facts_.items,
        fmt::format("filter {} found no answer in {:.1f} % of the generations", filter, percent(count, facts_.items)));
  }

  void write_one_text(const std::string& filter, const std::map<std::string, int64_t>& answers) {
    const auto most = std::max_element(answers.begin(), answers.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    int64_t total = 0;
    for (const auto& [answer, count] : answers) total += count;
    if (total < kEnoughForShares || static_cast<double>(most->second) < kOneAnswerShare * static_cast<double>(total))
      return;
    add("one_answer", Severity::warning, most->second, total,
        fmt::format("{:.1f} % of the answers that filter {} found are the same", percent(most->second, total), filter));
  }

  Severity notable(int64_t count) const {
    return static_cast<double>(count) > kNotableShare * static_cast<double>(facts_.completions) ? Severity::warning
                                                                                                : Severity::info;
  }

  std::string scope_;
  const ScopeFacts& facts_;
  std::vector<StoredFinding>& out_;
};

// Scopes in the order their first task comes in: a task, or the data set of several tasks that belong to groups.
class Scopes {
 public:
  void expect(const StoredTask& task) {
    if (!task.group.empty()) ++grouped_[task.dataset];
  }
  ScopeFacts& of(const StoredTask& task) {
    const std::string& name = !task.group.empty() && grouped_[task.dataset] > 1 ? task.dataset : task.name;
    if (!facts_.count(name)) order_.push_back(name);
    return facts_[name];
  }
  const std::vector<std::string>& order() const { return order_; }
  const ScopeFacts& operator[](const std::string& name) const { return facts_.find(name)->second; }

 private:
  std::map<std::string, int> grouped_;  // tasks by data set
  std::vector<std::string> order_;
  std::map<std::string, ScopeFacts> facts_;
};

// Tokens of a context as the model will see them begin.
Result<Tokens> encode_prompt(const ModelClient& client, const RunSettings& settings, const std::string& text) {
  const std::string& bos = client.info().bos_text;
  return client.encode(text, settings.prompt.profile == Profile::main && (bos.empty() || !starts_with(text, bos)));
}

Result<uint32_t> lint_prompt(const ModelClient& client, const SpecialTexts& specials, const PlannedTask& planned,
                             size_t position, const RunSettings& settings) {
  const ChatRenderer chat = [&](const std::vector<ChatMessage>& messages, const RenderOptions& options) {
    return client.render_chat(messages, options);
  };
  ASSAY_ASSIGN(const PromptTexts texts, prompt_of(planned, position, settings, chat));
  ASSAY_ASSIGN(const Sample sample, sample_of(planned, position));
  uint32_t lint = texts.system_dropped ? uint32_t{kSystemDropped} : 0;
  if (specials.occur_in(sample.question)) lint |= kSpecialInText;
  for (const std::string& context : texts.contexts) {
    if (context.empty()) continue;
    ASSAY_ASSIGN(const Tokens tokens, encode_prompt(client, settings, context));
    if (begins_with_two_bos(tokens, client.info().bos_token)) lint |= kTwoBos;
  }
  return lint;
}

}  // namespace

Result<std::vector<StoredFinding>> check_prompts(const ModelClient& client, const std::vector<PlannedTask>& tasks,
                                                 const RunSettings& settings, size_t probes_per_task) {
  const SpecialTexts specials(client.info().special_texts);
  Scopes scopes;
  for (const PlannedTask& task : tasks) scopes.expect(task.stored);
  for (const PlannedTask& task : tasks) {
    ScopeFacts& facts = scopes.of(task.stored);
    const size_t count = std::min(probes_per_task, task.doc_ids.size());
    for (size_t i = 0; i < count; ++i) {
      const size_t position = count > 1 ? i * (task.doc_ids.size() - 1) / (count - 1) : 0;
      const auto lint = lint_prompt(client, specials, task, position, settings);
      if (!lint.ok()) {
        if (lint.status().code() == Code::bad_data) continue;  // a failed row of its own when it is asked
        return lint.status();
      }
      ++facts.items;
      for (const uint32_t bit : {kTwoBos, kSpecialInText, kSystemDropped}) {
        if (*lint & bit) ++facts.lint[bit];
      }
    }
  }
  std::vector<StoredFinding> findings;
  for (const std::string& scope : scopes.order()) ScopeReport(scope, scopes[scope], findings).write_lint();
  return findings;
}

Result<std::vector<StoredFinding>> findings_of(Store& store, const StoredRun& run) {
  Scopes scopes;
  for (const StoredTask& task : run.tasks) scopes.expect(task);
  for (const StoredTask& task : run.tasks) {
    ScopeFacts& facts = scopes.of(task);
    ASSAY_TRY(store.for_each_answer(run.id, task.id, [&](const StoredItem& item) {
      count_item(task, item, facts);
      return ok_status();
    }));
  }
  std::vector<StoredFinding> findings;
  for (const std::string& scope : scopes.order()) ScopeReport(scope, scopes[scope], findings).write();
  return findings;
}

}  // namespace assay
