#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "engine/base/status.h"
#include "engine/engine.h"
#include "evals/prompt/prompt.h"
#include "evals/run/plan.h"

namespace assay {

// What turning questions into tokens needs of a model.
struct ModelWords {
  Encoder encode;  // writes BOS where the tokenizer does and the text does not
  ChatRenderer chat;
};

// What asking one task will take, counted from its real prompts.
struct TaskForecast {
  std::string name, label;
  RequestKind kind = RequestKind::multiple_choice;
  int num_fewshot = 0;
  int64_t items = 0, requests = 0;
  int64_t tokens_asked = 0;      // all tokens that requests name, generated ones not counted
  int64_t tokens_computed = 0;   // of these, with every shared prefix of the task computed once
  int64_t tokens_generated = 0;  // at most
  int64_t longest = 0;           // tokens of the longest request
  int64_t truncated = 0;         // items that do not fit the context
  int64_t unaskable = 0;         // items that cannot be put into tokens, a failed row each
  // 95 % half widths that may be expected, as shares: of a score near one half, and of the recovery of two models whose
  // answers differ on a tenth of the questions and whose scores are near one half.
  double score_half_width = 0, recovery_half_width = 0;
};

// Builds every prompt of a task and counts. Errors: settings that no prompt can be made with.
Result<TaskForecast> forecast_task(const PlannedTask& task, const RunSettings& settings, const ModelWords& words,
                                   const EngineInfo& model);

// Tokens of a trie over the lists: what must be computed when each shared beginning is computed once. Sorts `lists`.
int64_t trie_tokens(std::vector<Tokens>& lists);

}  // namespace assay
