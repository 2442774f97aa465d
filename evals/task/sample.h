#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/request.h"

namespace assay {

// How a task asks: which requests one of its samples turns into.
enum class RequestKind : uint8_t {
  multiple_choice,        // one loglikelihood a choice
  loglikelihood,          // one loglikelihood of the target
  loglikelihood_rolling,  // every token of a text, in windows
  generate_until,         // text after the prompt
};
std::string_view request_kind_name(RequestKind kind);  // lm-eval's spelling

// What a document asks, before shots and templates: lm-eval's doc_to_text, doc_to_choice, doc_to_target.
struct Question {
  std::string text;                   // the user's text, without delimiter
  std::vector<std::string> contexts;  // where each choice has a context of its own (Winogrande); then `text` is unused
  std::vector<std::string> choices;   // bare continuations; with `contexts` the one continuation they share
  int gold = -1;                      // index of the right choice
  std::string target;                 // the reference answer; a shot's answer text
  std::string answer_prefix;          // text the answer begins with (lm-eval's gen_prefix)

  // The user's text when this question serves as a shot.
  const std::string& shot_text() const { return contexts.empty() ? text : contexts[static_cast<size_t>(gold)]; }
};

// One item of a benchmark.
struct Sample {
  int64_t doc_id = 0;  // row of the evaluated split, from 0
  Json document;       // the data set's columns under their Hub names
  Question question;
};

// lm-eval's doc_hash: SHA-256 of the document as Python's json.dumps(doc, indent=2, ensure_ascii=False) writes it.
std::string document_hash(const Json& document);

// What the model answered to one sample, before judging.
struct Response {
  std::vector<Loglikelihood> loglikelihoods;  // one a request
  std::vector<Completion> completions;        // generate_until: one a repetition
};

// What became of a sample. A failure of the machine is not a wrong answer.
enum class Outcome : uint8_t { scored, no_answer, failed, skipped };
std::string_view outcome_name(Outcome outcome);

// One number under lm-eval's key "name,filter".
struct MetricValue {
  std::string name;    // "acc", "acc_norm", "exact_match"
  std::string filter;  // "none", "strict-match", "flexible-extract"
  double value = 0;
  double weight = 0;  // words or bytes that a weighted mean counts; 0 where every sample counts the same
};

struct Extracted {
  std::string filter;
  std::string text;  // what the filter found; "[invalid]" where it found nothing
};

struct Score {
  Outcome outcome = Outcome::scored;
  std::vector<MetricValue> metrics;
  std::vector<Extracted> extracted;  // generation only
  std::string reason;                // of failed and skipped
};

}  // namespace assay
