#include "evals/run/forecast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/threads.h"

namespace assay {
namespace {

constexpr double kFlipShare = 0.1, kLikelyScore = 0.5;

// A context with what is asked behind it: continuations without their last token, which nothing follows.
struct Branch {
  Tokens context;
  std::vector<Tokens> endings;
};

// One item as tokens.
struct ItemTokens {
  std::vector<Branch> branches;  // one, or one a choice
  int64_t requests = 0, asked = 0, longest = 0;
  bool truncated = false;
  Status status;
};

struct Counting {
  const PlannedTask& task;
  const RunSettings& settings;
  const ModelWords& words;
  int64_t max_length;
  int64_t max_tokens;  // to generate
  TokenId prefix;
};

Status count_choices(const Counting& c, const PromptTexts& texts, ItemTokens& item) {
  for (size_t i = 0; i < texts.num_requests(); ++i) {
    const std::string& continuation = texts.continuations[texts.continuations.size() == 1 ? 0 : i];
    ASSAY_ASSIGN(TokenPair pair,
                 encode_pair(c.words.encode, texts.context_of(i), continuation, c.prefix, c.max_length));
    const auto length = static_cast<int64_t>(pair.context.size() + pair.continuation.size());
    item.truncated |= pair.truncated;
    item.asked += length;
    item.longest = std::max(item.longest, length);
    ++item.requests;
    if (item.branches.empty() || item.branches.back().context != pair.context)
      item.branches.push_back({std::move(pair.context), {}});
    pair.continuation.pop_back();
    item.branches.back().endings.push_back(std::move(pair.continuation));
  }
  return ok_status();
}

Status count_text(const Counting& c, const std::string& text, int64_t room, ItemTokens& item) {
  ASSAY_ASSIGN(Tokens tokens, c.words.encode(text));
  item.truncated = room > 0 && static_cast<int64_t>(tokens.size()) > room;
  if (item.truncated) tokens.erase(tokens.begin(), tokens.end() - room);
  item.requests = 1;
  item.asked = item.longest = static_cast<int64_t>(tokens.size());
  item.branches.push_back({std::move(tokens), {}});
  return ok_status();
}

Status count_item(const Counting& c, size_t position, ItemTokens& item) {
  ASSAY_ASSIGN(const PromptTexts texts, prompt_of(c.task, position, c.settings, c.words.chat));
  switch (c.task.task->info().kind) {
    case RequestKind::generate_until:
      return count_text(c, texts.contexts[0], std::max<int64_t>(c.max_length - c.max_tokens, 1), item);
    case RequestKind::loglikelihood_rolling:
      return count_text(c, texts.contexts[0].empty() ? texts.continuations[0] : texts.contexts[0], 0, item);
    default: return count_choices(c, texts, item);
  }
}

// Tokens of a trie over branches. Questions may share a context and differ in their endings (Winogrande's twins).
int64_t computed_tokens(std::vector<Branch>& branches) {
  std::sort(branches.begin(), branches.end(), [](const Branch& a, const Branch& b) { return a.context < b.context; });
  std::vector<Tokens> contexts, endings;
  int64_t tokens = 0;
  for (size_t i = 0; i < branches.size(); ++i) {
    std::move(branches[i].endings.begin(), branches[i].endings.end(), std::back_inserter(endings));
    if (i + 1 < branches.size() && branches[i + 1].context == branches[i].context) continue;
    tokens += trie_tokens(endings);
    endings.clear();
    contexts.push_back(std::move(branches[i].context));
  }
  return tokens + trie_tokens(contexts);
}

Status add_items(std::vector<ItemTokens>& items, TaskForecast& forecast) {
  std::vector<Branch> branches;
  for (ItemTokens& item : items) {
    if (!item.status.ok()) {
      if (item.status.code() == Code::invalid_argument || item.status.code() == Code::unsupported) return item.status;
      ++forecast.unaskable;
      continue;
    }
    forecast.requests += item.requests;
    forecast.tokens_asked += item.asked;
    forecast.longest = std::max(forecast.longest, item.longest);
    forecast.truncated += item.truncated;
    std::move(item.branches.begin(), item.branches.end(), std::back_inserter(branches));
  }
  forecast.tokens_computed += computed_tokens(branches);
  return ok_status();
}

}  // namespace

int64_t trie_tokens(std::vector<Tokens>& lists) {
  std::sort(lists.begin(), lists.end());
  int64_t tokens = 0;
  for (size_t i = 0; i < lists.size(); ++i) {
    size_t shared = 0;
    if (i > 0) {
      const size_t most = std::min(lists[i].size(), lists[i - 1].size());
      while (shared < most && lists[i][shared] == lists[i - 1][shared]) ++shared;
    }
    tokens += static_cast<int64_t>(lists[i].size() - shared);
  }
  return tokens;
}

Result<TaskForecast> forecast_task(const PlannedTask& task, const RunSettings& settings, const ModelWords& words,
                                   const EngineInfo& model) {
  const TaskInfo& info = task.task->info();
  ASSAY_ASSIGN(const GenerationPlan generation, generation_plan(task.task->generation_in(task.asked), settings, model));
  const int64_t limit = settings.max_length > 0 ? std::min<int64_t>(settings.max_length, model.max_model_len)
                                                : int64_t{model.max_model_len};
  const TokenId prefix = model.bos_token ? *model.bos_token : model.eos_tokens.empty() ? 0 : model.eos_tokens[0];
  const Counting counting{task, settings, words, limit, generation.sampling.max_tokens, prefix};
  TaskForecast forecast;
  forecast.name = info.name;
  forecast.label = task.stored.split_label;
  forecast.kind = info.kind;
  forecast.num_fewshot = task.stored.num_fewshot;
  forecast.items = static_cast<int64_t>(task.doc_ids.size());
  std::vector<ItemTokens> items(task.doc_ids.size());
  parallel_for(items.size(), [&](size_t i) { items[i].status = count_item(counting, i, items[i]); });
  ASSAY_TRY(add_items(items, forecast));
  if (info.kind == RequestKind::generate_until)
    forecast.tokens_generated = forecast.items * generation.sampling.max_tokens * generation.sampling.num_samples;
  const auto n = static_cast<double>(std::max<int64_t>(forecast.items, 1));
  forecast.score_half_width = 1.96 * std::sqrt(kLikelyScore * (1 - kLikelyScore) / n);
  forecast.recovery_half_width = 1.96 * std::sqrt(kFlipShare / n) / kLikelyScore;
  return forecast;
}

}  // namespace assay
