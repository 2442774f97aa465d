#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/task/code_problem.h"
#include "evals/task/profile.h"
#include "evals/task/sample.h"

namespace assay {

// How shots are drawn from the few-shot pool, as in lm-eval (tasks.md 2.4).
enum class FewShotSampler : uint8_t { first_n, random };

// One step from a raw generation to an answer.
struct FilterStep {
  enum class Kind : uint8_t { regex, multi_choice_regex, take_first, lowercase, strip } kind = Kind::take_first;
  std::string pattern;
  int group_select = 0;  // 0: first match; -1: last
  bool ignore_case = false, ignore_punctuation = false;
};
struct Filter {
  std::string name;  // "strict-match"
  std::vector<FilterStep> steps;
};

// How exact_match compares (tasks.md 2.14).
struct ExactMatch {
  bool ignore_case = false, ignore_punctuation = false;
  std::vector<std::string> regexes_to_ignore;  // removed from both sides first, in this order
};

struct MetricInfo {
  std::string name;  // "acc"
  bool higher_is_better = true;
  std::string aggregation = "mean";  // "mean", "perplexity", "weighted_perplexity", "bits_per_byte", "weighted_mean"
  bool share = true;                 // of 1, shown in percent; false for values that are percentages already
};

struct GenerationSettings {
  std::vector<std::string> until;
  int max_gen_toks = 0;  // 0: the model client's default, 256
  float temperature = 0;
  float top_p = 1;
  bool do_sample = false;
  int repeats = 1;
};

// All a benchmark says about itself. Splits are the data set's; empty strings mean "not defined", which matters:
// lm-eval draws one extra shot where fewshot_split equals test_split, both undefined included.
struct TaskInfo {
  std::string name;                        // "mmlu_anatomy"
  std::string alias;                       // as lm-eval's tables show it: "anatomy"
  std::string group;                       // the group it belongs to, "" for none: "mmlu_stem"
  std::string version;                     // "1.0"
  std::string dataset;                     // name of a manifest in data-manifests/datasets: "mmlu"
  std::string dataset_path, dataset_name;  // the Hub's: "cais/mmlu", "anatomy"
  std::string subset;                      // of the manifest: "anatomy", "" for none
  std::string training_split, validation_split, test_split, fewshot_split;
  std::string description;  // system text, newlines included
  RequestKind kind = RequestKind::multiple_choice;
  FewShotSampler sampler = FewShotSampler::random;
  int num_fewshot = 0;
  bool fixed_num_fewshot = false;  // --num-fewshot does not apply (a config that says 0)
  std::string target_delimiter = " ";
  std::string fewshot_delimiter = "\n\n";
  GenerationSettings generation;
  std::vector<Filter> filters;  // empty: one filter "none"
  ExactMatch exact_match;
  std::vector<MetricInfo> metrics;
  std::string primary_metric;  // "acc_norm,none": what recovery tables show
  std::string id_column;       // a document's own id, "" where it has none; no two rows may share one
  std::string definition_file, definition_sha256;  // of a task that a file defines; "" for those built in

  // test if defined, else validation.
  const std::string& eval_split() const { return test_split.empty() ? validation_split : test_split; }
  // lm-eval's pool: fewshot_split, training, validation, test.
  const std::string& shot_split() const;
};

// A row's `columns`, in that order: how a source's row becomes a document. Errors: bad_data naming the missing column
// and the ones that are there.
Result<Json> select_columns(const Json& row, std::initializer_list<std::string_view> columns);

// What a question may depend on besides its document.
struct AskContext {
  bool in_chat = false;             // asked through a chat template
  Profile profile = Profile::main;  // whose protocol is followed where they differ
};

// What a split is loaded for.
enum class SplitRole : uint8_t { evaluated, shots };

// A benchmark: what to load, how to ask, how to judge. Implementations hold no state beyond their TaskInfo and are
// thread-safe. The default to_document, prepare and judge serve most tasks.
class Task {
 public:
  explicit Task(TaskInfo info) : info_(std::move(info)) {}
  virtual ~Task() = default;
  const TaskInfo& info() const { return info_; }

  // A source file's row as a document with the Hub's columns. `layout` says how the source lays rows out (a manifest's
  // word: "hub" for rows that are documents already). Errors name the missing field.
  virtual Result<Json> to_document(const Json& row, std::string_view layout) const;
  // Changes a whole split once after loading (lm-eval's process_docs): adds columns, drops rows, joins them.
  virtual Status prepare(std::vector<Json>& documents, SplitRole role) const;
  // The question in a document. Errors: bad_data naming the field and the value.
  virtual Result<Question> ask(const Json& document) const = 0;
  // The same document as a worked example; the default is ask().
  virtual Result<Question> ask_shot(const Json& document) const { return ask(document); }
  // Worked examples that come with the task instead of a split; then they are the few-shot pool.
  virtual std::vector<Json> inline_shots() const { return {}; }
  // Scores an answer. Pure: the same inputs give the same score, so stored answers can be scored again. The default
  // judges multiple choice and generation; it lives in evals/scoring, the room above this one.
  virtual Score judge(const Sample& sample, const Response& response) const;

  // The same where the question, or how it is answered, depends on the way of asking. The defaults: ask() and the
  // TaskInfo's settings.
  virtual Result<Question> ask_in(const Json& document, const AskContext& context) const;
  virtual GenerationSettings generation_in(const AskContext& context) const;

  // Tasks whose answers are programs are judged by running them (evals/scoring/code_check), not by judge().
  virtual bool wants_programs() const { return false; }
  virtual Result<CodeProblem> code_problem(const Json& document, const AskContext& context) const;

 private:
  TaskInfo info_;
};

}  // namespace assay
