#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace assay {

using TokenId = int32_t;
using Tokens = std::vector<TokenId>;
// A token list that many requests share: the choices of one question point at one context.
using SharedTokens = std::shared_ptr<const Tokens>;
using RequestId = uint64_t;

// How to choose the next token. Order of operations, each on the row that the one before left (docs/sampling.md):
// logits in float32; repetition, frequency and presence penalties; greedy if temperature is 0, else divide by
// temperature; min_p; top_k; top_p; draw with the request's own random stream.
struct SamplingParams {
  float temperature = 0.0f;         // 0: greedy, lowest token id among equals
  int top_k = 0;                    // 0: off
  float top_p = 1.0f;               // in (0, 1]
  float min_p = 0.0f;               // in [0, 1]
  float repetition_penalty = 1.0f;  // > 0; over prompt and output tokens
  float frequency_penalty = 0.0f;   // over output tokens
  float presence_penalty = 0.0f;    // over output tokens
  uint64_t seed = 0;                // (seed, sample_index, token position) decides a draw; neighbors never do
  int max_tokens = 256;             // at least 1
  int min_tokens = 0;               // end-of-sequence and stop ids are barred before this many
  bool ignore_eos = false;
  std::vector<std::string> stop;    // text that ends the completion and is cut from it, also across token edges
  Tokens stop_token_ids;            // beyond the model's own end-of-sequence ids
  int num_samples = 1;              // completions of this prompt
  int num_logprobs = 0;             // keep the top-k log-probabilities of each generated token
  bool skip_special_tokens = true;  // leave special tokens out of the text
};

// Asks for text after a prompt. The prompt is token ids: nothing is added to them.
struct GenerateRequest {
  SharedTokens prompt;  // at least one token
  SamplingParams sampling;
};

// Asks how likely `continuation` is after `context`. Both are token ids and neither may be empty.
struct LoglikelihoodRequest {
  SharedTokens context;
  Tokens continuation;
  int num_logprobs = 0;  // also keep the top-k log-probabilities at each scored position
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
};

enum class FinishReason : uint8_t {
  stop_token,   // an end-of-sequence or stop id; it is not part of the text
  stop_string,  // a stop string; it and what followed are not part of the text
  length,       // max_tokens, or the model's context was full
  failed,       // see Completion::error
};

// One generated text. `tokens` holds every generated id, the stop token included.
struct Completion {
  int sample_index = 0;
  std::string text;
  Tokens tokens;
  FinishReason finish = FinishReason::length;
  std::string stop_match;                               // the stop string or the stop token's text that ended it
  std::vector<float> logprobs;                          // of `tokens`, from the unmodified logits
  std::vector<std::vector<TokenLogprob>> top_logprobs;  // as many as num_logprobs asked for
  std::string error;
};

struct Loglikelihood {
  double sum = 0;               // natural logarithm, float64 sum of float32 terms
  bool is_greedy = false;       // every continuation token is the arg max (lowest id among equals)
  std::vector<float> logprobs;  // one a continuation token
  std::vector<std::vector<TokenLogprob>> top_logprobs;
};

// What became of one request: exactly one of the two lists is filled, or `error` is.
struct Answer {
  RequestId id = 0;
  std::vector<Completion> completions;        // num_samples of them
  std::vector<Loglikelihood> loglikelihoods;  // one
  std::string error;                          // an infrastructure failure: never to be scored as a wrong answer
  int64_t prompt_tokens = 0;                  // tokens the request named
  int64_t computed_tokens = 0;                // of all its tokens, those this request itself made the model compute
};

// An engine's counters since it was opened.
struct EngineStats {
  int64_t tokens_asked = 0;     // tokens all answered requests named: prompts, continuations and generated
  int64_t tokens_computed = 0;  // tokens that went through the model
  int64_t tokens_minimum = 0;   // what a perfect prefix tree over the submitted requests would compute
  int64_t tokens_generated = 0;
  int64_t steps = 0;
  int64_t preemptions = 0;
  int64_t logit_rows = 0;  // rows that went through the output head
  double seconds_in_steps = 0;
};

struct ChatMessage {
  std::string role;     // "system", "user", "assistant", "tool"
  std::string content;  // text
};

}  // namespace assay
