#include "engine/runtime/generation.h"

#include <doctest/doctest.h>

#include "engine/base/text_util.h"

namespace assay {
namespace {

constexpr TokenId kEos = 0;
constexpr TokenId kSpecial = 1;

// Token 10 + b is byte b; two special tokens.
std::string bytes_of(TokenId token) {
  if (token == kEos) return "</s>";
  if (token == kSpecial) return "<|x|>";
  return std::string(1, static_cast<char>(token - 10));
}

bool special(TokenId token) { return token == kEos || token == kSpecial; }

std::string decode(const Tokens& tokens, bool skip_special) {
  std::string bytes;
  for (const TokenId token : tokens) bytes += skip_special && special(token) ? "" : bytes_of(token);
  return replace_invalid_utf8(bytes);
}

const TokenTexts kTexts = {bytes_of, special, decode};

Tokens spell(std::string_view text) {
  Tokens tokens;
  for (const char c : text) tokens.push_back(10 + static_cast<unsigned char>(c));
  return tokens;
}

// Feeds tokens until the generation ends; what is left over stays unread.
Completion run(const SamplingParams& params, const Tokens& tokens, size_t max_history = 1000) {
  Generation generation(kTexts, std::make_shared<const Tokens>(Tokens{5, 6}),
                        std::make_shared<const SamplingParams>(params), 3, {kEos}, max_history);
  for (const TokenId token : tokens) {
    if (generation.accept({token, -0.5f, {{token, -0.5f}}})) return generation.take_completion();
  }
  FAIL("the generation did not end");
  return {};
}

Tokens with(Tokens head, const Tokens& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

TEST_CASE("an end-of-sequence id ends the text and stays in the tokens") {
  const Completion completion = run({}, with(spell("hi"), {kEos}));
  CHECK(completion.text == "hi");
  CHECK(completion.tokens == with(spell("hi"), {kEos}));
  CHECK(completion.finish == FinishReason::stop_token);
  CHECK(completion.stop_match == "</s>");
  CHECK(completion.sample_index == 3);
  CHECK(completion.logprobs.size() == 3);
  CHECK(completion.top_logprobs.empty());
}

TEST_CASE("ignore_eos writes on, and a stop id of the request still ends it") {
  SamplingParams params;
  params.ignore_eos = true;
  params.stop_token_ids = {10 + '!'};
  const Completion completion = run(params, with({kEos}, spell("a!b")));
  CHECK(completion.text == "a");
  CHECK(completion.stop_match == "!");
}

TEST_CASE("special tokens are part of the text only when asked for") {
  SamplingParams params;
  CHECK(run(params, with(with(spell("a"), {kSpecial}), {kEos})).text == "a");
  params.skip_special_tokens = false;
  CHECK(run(params, with(with(spell("a"), {kSpecial}), {kEos})).text == "a<|x|>");
}

TEST_CASE("a stop string across token edges is cut with all that follows") {
  SamplingParams params;
  params.stop = {"\n\n", "Question:"};
  const Completion completion = run(params, spell("4\nQuestion: 5"));
  CHECK(completion.text == "4\n");
  CHECK(completion.finish == FinishReason::stop_string);
  CHECK(completion.stop_match == "Question:");
  CHECK(completion.tokens.size() == 11);
}

TEST_CASE("a skipped special token does not hide a stop string around it") {
  SamplingParams params;
  params.stop = {"ab"};
  CHECK(run(params, {10 + 'x', 10 + 'a', kSpecial, 10 + 'b'}).text == "x");
}

TEST_CASE("max_tokens ends a generation, an unfinished character becomes U+FFFD") {
  SamplingParams params;
  params.max_tokens = 3;
  const Completion completion = run(params, spell("a\xE2\x82\xAC"));
  CHECK(completion.finish == FinishReason::length);
  CHECK(completion.text == "a\xEF\xBF\xBD");
  CHECK(completion.tokens.size() == 3);
}

TEST_CASE("a full context ends a generation after the token that could still be predicted") {
  const Completion completion = run({}, spell("abcdef"), 4);
  CHECK(completion.finish == FinishReason::length);
  CHECK(completion.tokens.size() == 3);
}

TEST_CASE("an unfinished character before a stop string becomes U+FFFD") {
  SamplingParams params;
  params.stop = {"."};
  CHECK(run(params, spell("a\xE2.")).text == "a\xEF\xBF\xBD");
}

TEST_CASE("the most likely tokens are kept when asked for") {
  SamplingParams params;
  params.num_logprobs = 1;
  CHECK(run(params, {kEos}).top_logprobs.size() == 1);
}

TEST_CASE("end-of-sequence ids are barred before min_tokens") {
  SamplingParams params;
  params.min_tokens = 1;
  Generation generation(kTexts, std::make_shared<const Tokens>(Tokens{5}),
                        std::make_shared<const SamplingParams>(params), 0, {kEos}, 100);
  const std::vector<float> logits = {9, 1, 2};
  CHECK(generation.choose(logits).token == 2);
  CHECK_FALSE(generation.accept({2, 0, {}}));
  CHECK(generation.choose(logits).token == kEos);
}

}  // namespace
}  // namespace assay
