#include "evals/prompt/prompt.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/text_util.h"

namespace assay {
namespace {

// One message, and what follows its content where the conversation is written as plain text.
struct Turn {
  std::string role;
  std::string content;
  std::string delimiter;
};
using Turns = std::vector<Turn>;

bool ends_in_space(std::string_view text) { return py_rstrip(text).size() != text.size(); }
bool begins_with_space(std::string_view text) { return py_lstrip(text).size() != text.size(); }

// lm-eval's maybe_delimit: the delimiter only where neither side has whitespace at the joint.
std::string joined(std::string_view left, std::string_view right, std::string_view delimiter) {
  std::string text(left);
  if (!left.empty() && !right.empty() && !ends_in_space(left) && !begins_with_space(right)) text += delimiter;
  return text += right;
}

// What stands between a question and the answer prefix that follows it.
std::string prefix_delimiter(std::string_view question, std::string_view prefix, const std::string& delimiter) {
  const bool wanted = !prefix.empty() && !question.empty() && !ends_in_space(question) && !begins_with_space(prefix);
  return wanted ? delimiter : "";
}

void add_shot(Turns& turns, const TaskInfo& task, const Question& shot, Profile profile) {
  const std::string& text = shot.shot_text();
  const bool answered = !shot.target.empty();
  const bool plain_answer = answered && shot.answer_prefix.empty();
  turns.push_back(
      {"user", text,
       plain_answer ? task.target_delimiter : prefix_delimiter(text, shot.answer_prefix, task.target_delimiter)});
  if (answered) {
    turns.push_back({"assistant", joined(shot.answer_prefix, shot.target, " "), task.fewshot_delimiter});
  } else if (!shot.answer_prefix.empty() || profile == Profile::card_2025_04) {
    turns.push_back({"assistant", shot.answer_prefix, ""});
  }
}

void add_question(Turns& turns, const std::string& text, const std::string& prefix, const std::string& delimiter) {
  turns.push_back({"user", text, prefix_delimiter(text, prefix, delimiter)});
  if (!prefix.empty()) turns.push_back({"assistant", prefix, ""});
}

std::string as_text(const Turn* begin, const Turn* end) {
  size_t size = 0;
  for (const Turn* turn = begin; turn != end; ++turn) size += turn->content.size() + turn->delimiter.size();
  std::string text;
  text.reserve(size);
  for (const Turn* turn = begin; turn != end; ++turn) text.append(turn->content).append(turn->delimiter);
  return text;
}

// All turns between the system's and an open answer as one user message.
std::vector<ChatMessage> as_single_turn(Turns turns) {
  std::vector<ChatMessage> messages;
  size_t first = 0, last = turns.size();
  if (turns.front().role == "system") messages.push_back({"system", turns[first++].content});
  const bool open_answer = turns.back().role == "assistant";
  if (open_answer) --last;
  turns[last - 1].delimiter.clear();
  messages.push_back({"user", as_text(turns.data() + first, turns.data() + last)});
  if (open_answer) messages.push_back({"assistant", turns.back().content});
  return messages;
}

std::vector<ChatMessage> as_messages(Turns turns, bool multiturn) {
  if (!multiturn) return as_single_turn(std::move(turns));
  std::vector<ChatMessage> messages;
  for (Turn& turn : turns) messages.push_back({std::move(turn.role), std::move(turn.content)});
  return messages;
}

Result<std::string> rendered(std::vector<ChatMessage> messages, bool open_answer, const ChatRenderer& chat,
                             bool& system_dropped) {
  const RenderOptions options{.add_generation_prompt = !open_answer, .continue_final_message = open_answer};
  Result<std::string> text = chat(messages, options);
  if (text.ok() || messages.front().role != "system") return text;
  messages.erase(messages.begin());
  Result<std::string> retried = chat(messages, options);
  if (!retried.ok()) return text;
  system_dropped = true;
  return retried;
}

Turns shared_turns(const TaskInfo& task, const std::vector<const Question*>& shots, const PromptSettings& settings) {
  Turns turns;
  const bool always =
      settings.profile == Profile::card_2025_04 && !settings.system_instruction.empty() && !task.description.empty();
  std::string system = always ? settings.system_instruction + task.fewshot_delimiter + task.description
                              : joined(settings.system_instruction, task.description, task.fewshot_delimiter);
  if (!system.empty()) turns.push_back({"system", std::move(system), ""});
  for (const Question* shot : shots) add_shot(turns, task, *shot, settings.profile);
  return turns;
}

// What precedes a choice in its continuation: nothing in a chat, where the answer opens a turn of its own.
std::string choice_delimiter(const TaskInfo& task, const Question& question, bool in_chat) {
  const bool after_prefix = !question.answer_prefix.empty() && !ends_in_space(question.answer_prefix);
  return in_chat && !after_prefix ? "" : task.target_delimiter;
}

std::vector<std::string> continuations_of(const TaskInfo& task, const Question& question, bool in_chat) {
  if (task.kind == RequestKind::generate_until) return {};
  if (task.kind != RequestKind::multiple_choice) return {question.target};
  const std::string delimiter = choice_delimiter(task, question, in_chat);
  std::vector<std::string> continuations;
  for (const std::string& choice : question.choices) continuations.push_back(delimiter + choice);
  // Contexts that differ share their one continuation.
  if (!question.contexts.empty() && continuations.size() == 1)
    continuations.resize(question.contexts.size(), continuations[0]);
  return continuations;
}

// The shots alone as a conversation: in a single turn their whole text, last delimiter included, is the user's.
std::vector<ChatMessage> shots_as_messages(Turns turns, bool multiturn) {
  if (multiturn) return as_messages(std::move(turns), true);
  std::vector<ChatMessage> messages;
  const size_t first = turns.front().role == "system" ? 1 : 0;
  if (first == 1) messages.push_back({"system", turns.front().content});
  if (turns.size() > first) messages.push_back({"user", as_text(turns.data() + first, turns.data() + turns.size())});
  return messages;
}

// April 2025's way with questions whose options are the contexts: the shots are a conversation of their own, and the
// question another one, rendered after it. With most templates that repeats BOS and the system text in the middle.
Result<PromptTexts> two_conversations(PromptTexts texts, Turns shared, const Question& question,
                                      const PromptSettings& settings, const ChatRenderer& chat) {
  std::string first;
  if (!shared.empty()) {
    ASSAY_ASSIGN(first, rendered(shots_as_messages(std::move(shared), settings.fewshot_as_multiturn), false, chat,
                                 texts.system_dropped));
  }
  for (const std::string& context : question.contexts) {
    ASSAY_ASSIGN(std::string second, rendered({{"user", context}}, false, chat, texts.system_dropped));
    texts.contexts.push_back(first + second);
  }
  return texts;
}

Result<TokenPair> encode_after_nothing(const Encoder& encode, std::string_view continuation, TokenId prefix_token) {
  ASSAY_ASSIGN(Tokens tokens, encode(continuation));
  if (!tokens.empty() && tokens.front() == prefix_token) tokens.erase(tokens.begin());
  return TokenPair{.context = {prefix_token}, .continuation = std::move(tokens)};
}

Result<TokenPair> encode_at_boundary(const Encoder& encode, std::string_view context, std::string_view continuation,
                                     TokenId prefix_token) {
  const std::string_view kept = py_rstrip(context);
  ASSAY_ASSIGN(Tokens whole, encode(std::string(context).append(continuation)));
  ASSAY_ASSIGN(Tokens alone, encode(kept));
  TokenPair pair;
  // Nothing promises that `alone` begins `whole`; lm-eval counts, and so must we.
  if (alone.size() < whole.size())
    pair.continuation.assign(whole.begin() + static_cast<ptrdiff_t>(alone.size()), whole.end());
  pair.merged = alone.size() > whole.size() || !std::equal(alone.begin(), alone.end(), whole.begin());
  pair.context = std::move(alone);
  if (pair.context.empty()) pair.context = {prefix_token};
  return pair;
}

}  // namespace

Result<PromptTexts> build_prompt(const TaskInfo& task, const Question& question,
                                 const std::vector<const Question*>& shots, const PromptSettings& settings,
                                 const ChatRenderer& chat) {
  PromptTexts texts;
  texts.continuations = continuations_of(task, question, settings.apply_chat_template);
  if (task.kind == RequestKind::loglikelihood_rolling) {
    texts.contexts = std::move(texts.continuations);
    texts.continuations.clear();
    return texts;
  }
  const Turns shared = shared_turns(task, shots, settings);
  const bool several = !question.contexts.empty();
  if (several && settings.apply_chat_template && settings.profile == Profile::card_2025_04)
    return two_conversations(std::move(texts), shared, question, settings, chat);
  const bool open_answer = !question.answer_prefix.empty();
  const size_t count = several ? question.contexts.size() : 1;
  for (size_t i = 0; i < count; ++i) {
    Turns turns = shared;
    add_question(turns, several ? question.contexts[i] : question.text, question.answer_prefix,
                 several ? "" : task.target_delimiter);
    if (!settings.apply_chat_template) {
      texts.contexts.push_back(as_text(turns.data(), turns.data() + turns.size()));
      continue;
    }
    std::vector<ChatMessage> messages = as_messages(std::move(turns), settings.fewshot_as_multiturn);
    ASSAY_ASSIGN(std::string text, rendered(std::move(messages), open_answer, chat, texts.system_dropped));
    texts.contexts.push_back(std::move(text));
  }
  return texts;
}

Result<TokenPair> encode_pair(const Encoder& encode, std::string_view context, std::string_view continuation,
                              TokenId prefix_token, int64_t max_length) {
  Result<TokenPair> pair = context.empty() ? encode_after_nothing(encode, continuation, prefix_token)
                                           : encode_at_boundary(encode, context, continuation, prefix_token);
  if (!pair.ok()) return pair;
  const auto scored = static_cast<int64_t>(pair->continuation.size());
  if (scored == 0) return bad_data("the continuation adds no token to its context, so there is nothing to score");
  if (scored > max_length) {
    return bad_data(fmt::format(
        "the continuation has {} tokens, more than the maximum length of {}; raise --max-length", scored, max_length));
  }
  const int64_t excess = static_cast<int64_t>(pair->context.size()) + scored - (max_length + 1);
  if (excess > 0) {
    pair->context.erase(pair->context.begin(), pair->context.begin() + excess);
    pair->truncated = true;
  }
  return pair;
}

}  // namespace assay
