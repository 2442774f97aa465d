#include "engine/runtime/request_plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>

namespace assay {
namespace {

SharedTokens shared(Tokens tokens) { return std::make_shared<const Tokens>(std::move(tokens)); }

Tokens fed_tokens(const Sequence& sequence) {
  Tokens tokens;
  for (int32_t i = 0; i < sequence.num_tokens(); ++i) tokens.push_back(sequence.token(i));
  return tokens;
}

RequestPlan plan(std::vector<PendingLoglikelihood> loglikelihoods, std::vector<PendingGenerate> generates = {},
                 bool share_prefixes = true) {
  int64_t next_id = 10;
  return plan_requests(std::move(loglikelihoods), std::move(generates), share_prefixes, next_id);
}

TEST_CASE("four choices of one token become one sequence") {
  const SharedTokens question = shared({1, 2, 3});
  const RequestPlan made =
      plan({{1, {question, {7}}}, {2, {question, {8}}}, {3, {question, {9}}}, {4, {question, {7}}}});
  REQUIRE(made.sequences.size() == 1);
  const Sequence& sequence = *made.sequences[0];
  CHECK(sequence.id == 10);
  CHECK(fed_tokens(sequence) == Tokens{1, 2, 3});
  REQUIRE(sequence.wanted.size() == 4);
  for (const WantedScore& wanted : sequence.wanted) CHECK(wanted.position == 2);
  CHECK(made.tokens_minimum == 3);
}

TEST_CASE("longer endings share the row that predicts their first token") {
  const SharedTokens context = shared({1, 2});
  const RequestPlan made = plan({{1, {context, {5, 6, 7}}}, {2, {context, {4, 6, 7}}}});
  REQUIRE(made.sequences.size() == 2);
  CHECK(fed_tokens(*made.sequences[0]) == Tokens{1, 2, 4, 6});
  CHECK(fed_tokens(*made.sequences[1]) == Tokens{1, 2, 5, 6});
  CHECK(made.sequences[0]->wanted.size() == 4);
  CHECK(made.sequences[1]->wanted.size() == 2);
  CHECK(made.sequences[1]->wanted.front().position == 2);
  CHECK(made.tokens_minimum == 6);
}

TEST_CASE("a request inside a longer one needs no sequence of its own") {
  const RequestPlan made =
      plan({{1, {shared({1, 2}), {3, 4}}}, {2, {shared({1}), {2}}}, {3, {shared({1, 2, 3, 9}), {5}}}});
  REQUIRE(made.sequences.size() == 1);
  CHECK(made.sequences[0]->request == 3);
  CHECK(made.sequences[0]->wanted.size() == 4);
  CHECK(made.tokens_minimum == 4);
}

TEST_CASE("without sharing every request is a sequence, in the order of submission") {
  const SharedTokens context = shared({5});
  const RequestPlan made = plan({{1, {context, {2}}}, {2, {context, {1, 1}}}}, {{3, {shared({5}), {}}}}, false);
  REQUIRE(made.sequences.size() == 3);
  CHECK(made.sequences[0]->request == 1);
  CHECK(made.sequences[1]->request == 2);
  CHECK(made.sequences[1]->wanted.size() == 2);
  CHECK(made.sequences[2]->generates);
  CHECK(made.tokens_minimum == 2);
}

TEST_CASE("a generate request gives one sequence a sample, after the loglikelihoods") {
  SamplingParams sampling;
  sampling.num_samples = 3;
  const RequestPlan made = plan({{1, {shared({9}), {2}}}}, {{2, {shared({1, 2}), sampling}}});
  REQUIRE(made.sequences.size() == 4);
  CHECK_FALSE(made.sequences[0]->generates);
  for (int i = 0; i < 3; ++i) {
    const Sequence& sequence = *made.sequences[static_cast<size_t>(i) + 1];
    CHECK(sequence.generates);
    CHECK(sequence.sample_index == i);
    CHECK(sequence.request == 2);
    CHECK(sequence.sampling->num_samples == 3);
    CHECK(fed_tokens(sequence) == Tokens{1, 2});
  }
  CHECK(made.tokens_minimum == 3);
}

TEST_CASE("every score is wanted once, where its prefix is, and no trie node belongs to two sequences") {
  std::mt19937 random(11);
  const auto some_tokens = [&](size_t count) {
    Tokens tokens(count);
    for (TokenId& token : tokens) token = static_cast<TokenId>(random() % 2);
    return tokens;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<PendingLoglikelihood> pending;
    SharedTokens context;
    for (RequestId id = 0; id < 1 + random() % 12; ++id) {
      if (context == nullptr || random() % 2 == 0) context = shared(some_tokens(1 + random() % 6));
      pending.push_back({id, {context, some_tokens(1 + random() % 4), static_cast<int>(random() % 3)}});
    }
    std::set<Tokens> trie;
    std::map<std::pair<RequestId, int32_t>, std::pair<Tokens, TokenId>> expected;
    for (const auto& [id, request] : pending) {
      Tokens prefix;
      for (const TokenId token : *request.context) trie.insert((prefix.push_back(token), prefix));
      for (size_t i = 0; i < request.continuation.size(); ++i) {
        if (i > 0) trie.insert((prefix.push_back(request.continuation[i - 1]), prefix));
        expected[{id, static_cast<int32_t>(i)}] = {prefix, request.continuation[i]};
      }
    }
    const RequestPlan made = plan(pending);
    CHECK(made.tokens_minimum == static_cast<int64_t>(trie.size()));
    std::set<Tokens> computed;
    for (const auto& sequence : made.sequences) {
      const Tokens tokens = fed_tokens(*sequence);
      int32_t known = 0;  // what earlier sequences compute
      while (known < sequence->num_tokens() && computed.count({tokens.begin(), tokens.begin() + known + 1}) > 0)
        ++known;
      CHECK(known < sequence->num_tokens());
      REQUIRE_FALSE(sequence->wanted.empty());
      CHECK(sequence->wanted.back().position == sequence->num_tokens() - 1);
      for (int32_t i = known; i < sequence->num_tokens(); ++i)
        computed.insert({tokens.begin(), tokens.begin() + i + 1});
      int32_t last_position = known;
      for (const WantedScore& wanted : sequence->wanted) {
        CHECK(wanted.position >= last_position);
        last_position = wanted.position;
        const auto found = expected.find({wanted.request, wanted.index});
        REQUIRE(found != expected.end());
        CHECK(found->second.first == Tokens(tokens.begin(), tokens.begin() + wanted.position + 1));
        CHECK(found->second.second == wanted.token);
        expected.erase(found);
      }
    }
    CHECK(expected.empty());
    CHECK(computed.size() == trie.size());
  }
}

TEST_CASE("the order of submission does not change the sequences") {
  std::mt19937 random(5);
  std::vector<PendingLoglikelihood> pending;
  for (RequestId id = 0; id < 30; ++id) {
    Tokens context(1 + random() % 5);
    for (TokenId& token : context) token = static_cast<TokenId>(random() % 3);
    pending.push_back({id, {shared(std::move(context)), {static_cast<TokenId>(random() % 3), 1}}});
  }
  const auto runs = [](const RequestPlan& made) {
    std::vector<Tokens> tokens;
    for (const auto& sequence : made.sequences) tokens.push_back(fed_tokens(*sequence));
    return tokens;
  };
  const auto expected = runs(plan(pending));
  for (int round = 0; round < 10; ++round) {
    std::shuffle(pending.begin(), pending.end(), random);
    CHECK(runs(plan(pending)) == expected);
  }
}

TEST_CASE("a whole benchmark is planned in well under a second") {
  std::mt19937 random(1);
  std::vector<PendingLoglikelihood> pending;
  RequestId id = 0;
  for (int subject = 0; subject < 57; ++subject) {
    Tokens shots(600);
    for (TokenId& token : shots) token = static_cast<TokenId>(random() % 49152);
    for (int question = 0; question < 246; ++question) {
      Tokens context = shots;
      for (int i = 0; i < 100; ++i) context.push_back(static_cast<TokenId>(random() % 1000));
      const SharedTokens at = shared(std::move(context));
      for (TokenId letter = 330; letter < 334; ++letter) pending.push_back({id++, {at, {letter}}});
    }
  }
  std::shuffle(pending.begin(), pending.end(), random);
  const auto begin = std::chrono::steady_clock::now();
  const RequestPlan made = plan(std::move(pending));
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  CHECK(made.sequences.size() == 57 * 246);
  CHECK(made.tokens_minimum <= 57 * (600 + 246 * 100));
  CHECK(seconds < 5.0);  // a tenth of a second in a release build
}

}  // namespace
}  // namespace assay
