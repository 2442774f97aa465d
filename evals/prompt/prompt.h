#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/engine.h"
#include "engine/request.h"
#include "evals/task/profile.h"
#include "evals/task/task.h"

namespace assay {

// How prompts are put together, apart from the task itself. Part of a run's settings.
struct PromptSettings {
  bool apply_chat_template = false;
  bool fewshot_as_multiturn = false;  // shots as user and assistant turns instead of one user text
  std::string system_instruction;
  Profile profile = Profile::main;
};

using ChatRenderer = std::function<Result<std::string>(const std::vector<ChatMessage>&, const RenderOptions&)>;

// The texts of one sample's requests, in lm-eval's order.
struct PromptTexts {
  std::vector<std::string> contexts;       // one; or one a choice where contexts differ; the text itself when rolling
  std::vector<std::string> continuations;  // one a request; empty for generation and rolling
  bool system_dropped = false;             // the chat template refused a system message, so that lm-eval leaves it out
  // Request i's context.
  const std::string& context_of(size_t i) const { return contexts.size() == 1 ? contexts[0] : contexts[i]; }
  size_t num_requests() const { return std::max(contexts.size(), continuations.size()); }
};

// Instruction, shots and question as the texts that lm-eval would send (tasks.md 2.5, 2.6, 2.8; 3.5, 3.7 and section 5
// for what the profiles do apart). `chat` is called only
// with apply_chat_template; where it fails on a conversation with a system message it is asked again without one, as
// lm-eval's hf class does. Thread-safe. Errors: the renderer's first one.
Result<PromptTexts> build_prompt(const TaskInfo& task, const Question& question,
                                 const std::vector<const Question*>& shots, const PromptSettings& settings,
                                 const ChatRenderer& chat);

// Token ids of (context, continuation) by lm-eval's boundary rule: trailing whitespace of the context moves to the
// continuation; both are encoded as one text and the context alone; what follows the context's length is the
// continuation. An empty context becomes `prefix_token`, unless the continuation begins with it. Then the pair is cut
// from the left to max_length + 1 tokens as lm-eval's hf class does, `truncated` telling so. (tasks.md 2.9, 2.10)
// Errors: bad_data when no token is left to score, or the continuation alone exceeds max_length; the encoder's.
struct TokenPair {
  Tokens context;
  Tokens continuation;
  bool truncated = false;
  bool merged = false;  // the context alone is not what the whole text's tokens begin with
};
using Encoder = std::function<Result<Tokens>(std::string_view)>;
Result<TokenPair> encode_pair(const Encoder& encode, std::string_view context, std::string_view continuation,
                              TokenId prefix_token, int64_t max_length);

}  // namespace assay
