#include "engine/runtime/request_loop.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "tests/engine/runtime/request_loop_rig.h"

namespace assay {
namespace {

using namespace testing;

TEST_CASE("answers depend on the request alone: not on order, waves, token budget, KV size or sharing") {
  Paths paths;
  for (uint32_t seed = 0; seed < 12; ++seed) {
    const std::vector<Request> requests = Workload(seed).requests(30);
    for (const int32_t budget : {1, 2, 7, 16, 64, 512}) {
      for (const int32_t kv_blocks : {kFewestBlocks, kFewestBlocks + 3, 20, 512}) {
        for (const bool prefix_tree : {true, false}) {
          Setup setup;
          setup.budget = budget;
          setup.kv_blocks = kv_blocks;
          setup.prefix_tree = prefix_tree;
          setup.max_sequences = seed % 2 == 0 ? 16 : 3;
          setup.max_in_flight = 1 + static_cast<int>(seed % 3);
          setup.draws_tokens = seed % 4 < 2;
          setup.feeds_tokens = seed % 8 < 5;
          CAPTURE(seed);
          CAPTURE(budget);
          CAPTURE(kv_blocks);
          CAPTURE(prefix_tree);
          check_all_answered(setup, requests, seed * 7 + static_cast<uint32_t>(budget), paths);
        }
      }
    }
  }
  CHECK(paths.preemptions > 100);
  CHECK(paths.copies > 1000);
  CHECK(paths.extra_writes > 1000);
  CHECK(paths.feeds > 10000);
  CHECK(paths.mixed > 10);
  CHECK(paths.chains > 10);
}

TEST_CASE("sequences that are sent back while their token is on its way answer all the same") {
  Paths paths;
  for (uint32_t seed = 100; seed < 180; ++seed) {
    Setup setup;
    setup.budget = seed % 2 == 0 ? 16 : 64;
    setup.kv_blocks = kFewestBlocks + static_cast<int32_t>(seed % 4);
    setup.max_in_flight = 2;
    setup.draws_tokens = setup.feeds_tokens = true;
    CAPTURE(seed);
    check_all_answered(setup, Workload(seed).requests(30), seed, paths);
  }
  CHECK(paths.preemptions > 50);
  CHECK(paths.feeds > 1000);
}

TEST_CASE("running out of scratch memory shrinks the batches and changes no answer") {
  Paths paths;
  for (uint32_t seed = 50; seed < 60; ++seed) {
    for (const int32_t kv_blocks : {kFewestBlocks, 40}) {
      Setup setup;
      setup.budget = 256;
      setup.rows_that_fit = 20;
      setup.kv_blocks = kv_blocks;
      setup.max_in_flight = 1 + static_cast<int>(seed % 2);
      setup.feeds_tokens = seed % 4 < 2;
      CAPTURE(seed);
      check_all_answered(setup, Workload(seed).requests(25), seed, paths);
    }
  }
}

TEST_CASE("memory that is missing once, at any batch, changes no answer") {
  Paths paths;
  const std::vector<Request> requests = Workload(61).requests(12);
  for (int call = 0; call < 16; ++call) {
    for (const int max_in_flight : {1, 2}) {
      Setup setup;
      setup.budget = 64;
      setup.full_call = call;
      setup.max_in_flight = max_in_flight;
      setup.feeds_tokens = max_in_flight == 2;
      setup.kv_blocks = call % 2 == 0 ? 20 : 512;
      CAPTURE(call);
      check_all_answered(setup, requests, 61, paths);
    }
  }
}

TEST_CASE("with room for everything each distinct prefix is computed once, whatever the budget") {
  for (uint32_t seed = 100; seed < 130; ++seed) {
    std::vector<Request> requests = Workload(seed).requests(60);
    std::erase_if(requests, [](const Request& request) { return std::holds_alternative<GenerateRequest>(request); });
    for (const int32_t budget : {1, 5, 16, 33, 512}) {
      Setup setup;
      setup.budget = budget;
      Rig rig(setup);
      for (const Request& request : requests) rig.submit(request);
      rig.run();
      CAPTURE(seed);
      CAPTURE(budget);
      CHECK(rig.loop.stats().tokens_computed == rig.loop.stats().tokens_minimum);
      int64_t asked = 0;
      for (const Answer& answer : rig.loop.poll()) asked += answer.prompt_tokens;
      CHECK(rig.loop.stats().tokens_asked == asked);
      for (size_t i = 0; i + 1 < rig.backend.batches().size(); ++i)
        CHECK(rig.backend.batches()[i].num_rows() == budget);
    }
  }
}

TEST_CASE("a draw is the same alone and among neighbors") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens{3, 4, 5}), {}};
  request.sampling.temperature = 1.0f;
  request.sampling.seed = 9;
  request.sampling.max_tokens = 30;
  request.sampling.ignore_eos = true;
  Rig alone({});
  alone.submit(request);
  alone.run();
  const Tokens tokens = alone.loop.poll()[0].completions[0].tokens;
  Setup setup;
  setup.kv_blocks = 12;
  Rig among(setup);
  for (const Request& neighbor : Workload(4).requests(20)) among.submit(neighbor);
  const RequestId id = among.submit(request);
  among.run();
  for (const Answer& answer : among.loop.poll()) {
    if (answer.id == id) CHECK(answer.completions[0].tokens == tokens);
  }
}

TEST_CASE("samples of one prompt differ by their index and compute the prompt once") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens(50, 3)), {}};
  request.sampling.temperature = 1.0f;
  request.sampling.max_tokens = 10;
  request.sampling.num_samples = 4;
  request.sampling.ignore_eos = true;
  Rig rig({});
  rig.submit(request);
  rig.run();
  const std::vector<Answer> answers = rig.loop.poll();
  REQUIRE(answers.size() == 1);
  REQUIRE(answers[0].completions.size() == 4);
  CHECK(answers[0].completions[0].tokens != answers[0].completions[1].tokens);
  CHECK(rig.loop.stats().tokens_minimum == 50);
  CHECK(answers[0].computed_tokens == 50 + 3 + 4 * 9);  // each further sample computes the prompt's last row again
  CHECK(rig.loop.stats().tokens_generated == 40);
  CHECK(rig.loop.stats().tokens_asked == 90);
}

TEST_CASE("greedy decoding without penalties asks for no rows of logits") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens{3}), {}};
  request.sampling.max_tokens = 5;
  request.sampling.min_tokens = 2;
  request.sampling.ignore_eos = true;
  Rig rig({});
  rig.submit(request);
  rig.run();
  int rows = 0;
  for (const Batch& batch : rig.backend.batches()) {
    for (const LogitRequest& wanted : batch.logits) rows += wanted.want_logits;
  }
  CHECK(rows == 2);  // while stop ids are barred
}

TEST_CASE("a backend that draws tokens is asked for no rows where nothing changes them") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens{3}), {}};
  request.sampling.temperature = 1.0f;
  request.sampling.max_tokens = 6;
  request.sampling.min_tokens = 2;
  request.sampling.ignore_eos = true;
  Setup setup;
  setup.draws_tokens = true;
  Rig rig(setup);
  rig.submit(request);
  rig.run();
  int rows = 0, draws = 0;
  for (const Batch& batch : rig.backend.batches()) {
    for (const LogitRequest& wanted : batch.logits) {
      rows += wanted.want_logits;
      draws += wanted.draw.has_value();
    }
  }
  CHECK(rows == 2);  // while stop ids are barred
  CHECK(draws == 4);
}

TEST_CASE("a request that can never fit fails alone, planned ahead or not") {
  Setup setup;
  setup.kv_blocks = 2;
  SUBCASE("waiting for tokens") {}
  SUBCASE("planned ahead") { setup.max_in_flight = 2, setup.feeds_tokens = true; }
  Rig rig(setup);
  const RequestId big = rig.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(40, 3)), {4}, 0});
  const RequestId inside = rig.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(20, 3)), {4}, 0});
  GenerateRequest growing{std::make_shared<const Tokens>(Tokens(20, 5)), {}};
  growing.sampling.max_tokens = 100;
  growing.sampling.ignore_eos = true;
  growing.sampling.num_samples = 2;
  const RequestId grown = rig.submit(growing);
  rig.run();
  std::map<RequestId, Answer> answers;
  for (Answer& answer : rig.loop.poll()) answers[answer.id] = std::move(answer);
  REQUIRE(answers.size() == 3);
  CHECK(answers[big].error ==
        "KV cache: 40 tokens need 3 blocks of 16 tokens, the cache has 2; raise --kv-bytes or lower --max-length");
  CHECK(answers[big].loglikelihoods.empty());
  CHECK(answers[inside].error.empty());
  CHECK(answers[inside].loglikelihoods.size() == 1);
  CHECK(starts_with(answers[grown].error, "KV cache: 33 tokens need 3 blocks"));
  CHECK(answers[grown].completions.empty());
  CHECK(rig.loop.num_pending() == 0);
}

TEST_CASE("one sample may outgrow the cache while its sibling ends in time, planned ahead or not") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens(10, 5)), {}};
  request.sampling.temperature = 1.0f;
  request.sampling.max_tokens = 1000;
  request.sampling.num_samples = 12;
  Setup setup;
  setup.kv_blocks = 3;
  SUBCASE("waiting for tokens") {}
  SUBCASE("planned ahead") { setup.max_in_flight = 2, setup.feeds_tokens = setup.draws_tokens = true; }
  Rig rig(setup);
  const Answer answer = only_answer(rig, request);
  CHECK(answer.error.empty());
  int failed = 0;
  for (const Completion& completion : answer.completions) {
    if (completion.finish != FinishReason::failed) continue;
    ++failed;
    CHECK(starts_with(completion.error, "KV cache: "));
  }
  CHECK(failed > 0);
  CHECK(failed < 12);
}

TEST_CASE("a generation that ends with the cache's last slot needs no room for a token that never comes") {
  constexpr size_t kPrompt = 20, kSlots = 2 * kKvBlockTokens, kMade = kSlots - kPrompt + 1;
  int checked = 0;
  for (TokenId first = 2; first < 30; ++first) {
    GenerateRequest request{std::make_shared<const Tokens>(Tokens(kPrompt, first)), {}};
    request.sampling.max_tokens = 100;
    request.sampling.ignore_eos = true;
    const Tokens made = generated_tokens(request, kMade);
    if (std::find(made.begin(), made.end() - 1, made.back()) != made.end() - 1) continue;
    request.sampling.stop_token_ids = {made.back()};
    Setup setup;
    setup.kv_blocks = 2;
    setup.max_in_flight = 2;
    setup.feeds_tokens = true;
    Rig rig(setup);
    const Answer answer = only_answer(rig, request);
    CHECK(answer.error.empty());
    REQUIRE(answer.completions.size() == 1);
    CHECK(answer.completions[0].finish == FinishReason::stop_token);
    CHECK(answer.completions[0].tokens == made);
    ++checked;
  }
  CHECK(checked > 0);
}

TEST_CASE("a context may be as long as the model takes, and generation stops when it is full") {
  Setup setup;
  setup.max_model_len = 20;
  Rig rig(setup);
  CHECK(rig.loop.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(20, 3)), {4}, 0}).ok());
  const auto too_long = rig.loop.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(20, 3)), {4, 4}, 0});
  CHECK(too_long.status().code() == Code::invalid_argument);
  CHECK(too_long.status().message() ==
        "loglikelihood request: context and continuation: hold 22 tokens, the model takes at most 20 and one more to "
        "predict; "
        "shorten the context or raise --max-length");
  GenerateRequest request{std::make_shared<const Tokens>(Tokens(15, 3)), {}};
  request.sampling.ignore_eos = true;
  REQUIRE(rig.loop.submit(request).ok());
  request.prompt = std::make_shared<const Tokens>(Tokens(21, 3));
  CHECK(rig.loop.submit(request).status().code() == Code::invalid_argument);
  rig.run();
  for (const Answer& answer : rig.loop.poll()) {
    if (!answer.completions.empty()) CHECK(answer.completions[0].tokens.size() == 6);
  }
}

TEST_CASE("bad requests are refused by field and nothing is queued") {
  Rig rig({});
  const SharedTokens fine = std::make_shared<const Tokens>(Tokens{3, 4});
  const auto refused = [&](auto request, const std::string& message) {
    const auto id = rig.loop.submit(std::move(request));
    CHECK(id.status().code() == Code::invalid_argument);
    CHECK(id.status().message() == message);
  };
  refused(LoglikelihoodRequest{nullptr, {1}, 0},
          "loglikelihood request: context: is missing, expected at least one token");
  refused(LoglikelihoodRequest{fine, {}, 0},
          "loglikelihood request: continuation: is empty, expected at least one token");
  refused(LoglikelihoodRequest{fine, {3, 40}, 0},
          "loglikelihood request: continuation[1]: token id 40 is outside the model's vocabulary, expected 0 to 39");
  refused(LoglikelihoodRequest{fine, {3}, 41},
          "loglikelihood request: num_logprobs: 41 is out of range, expected 0 to the vocabulary's 40");
  refused(GenerateRequest{std::make_shared<const Tokens>(Tokens{}), {}},
          "generate request: prompt: is empty, expected at least one token");
  refused(GenerateRequest{std::make_shared<const Tokens>(Tokens{-1}), {}},
          "generate request: prompt[0]: token id -1 is outside the model's vocabulary, expected 0 to 39");
  SamplingParams bad;
  bad.top_p = 0;
  refused(GenerateRequest{fine, bad},
          "generate request: sampling.top_p: 0 is out of range, expected above 0, at most 1");
  CHECK(rig.loop.num_pending() == 0);
  CHECK_FALSE(*rig.loop.step());
}

TEST_CASE("a failing backend stops the loop, every time it is asked") {
  FakeBackendOptions options;
  options.failing_call = 0;
  FakeBackend backend(options);
  RequestLoop loop(backend, kTexts, loop_options({}));
  REQUIRE(loop.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens{3}), {4}, 0}).ok());
  CHECK(loop.step().status().code() == Code::internal);
  CHECK(loop.step().status().message() == "logits of row 0 are not finite");
  CHECK(loop.poll().empty());
}

TEST_CASE("a batch is planned while the one before runs, unless it waits for a token of that one") {
  Setup setup;
  setup.budget = 16;
  setup.max_in_flight = 2;
  Rig scores(setup);
  for (TokenId first = 2; first < 10; ++first)
    scores.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(12, first)), {4, 5}, 0});
  CHECK(*scores.loop.step());
  CHECK(scores.backend.batches().size() == 2);
  scores.run();
  CHECK(scores.backend.most_in_flight() == 2);
  CHECK(scores.loop.poll().size() == 8);
  Rig writes(setup);
  GenerateRequest request{std::make_shared<const Tokens>(Tokens(12, 3)), {}};
  request.sampling.max_tokens = 5;
  writes.submit(request);
  writes.run();
  CHECK(writes.backend.most_in_flight() == 1);
}

TEST_CASE("where a backend feeds tokens, generations are planned a batch ahead, and one that ends early costs a row") {
  GenerateRequest request{std::make_shared<const Tokens>(Tokens(12, 3)), {}};
  request.sampling.max_tokens = 5;
  request.sampling.ignore_eos = true;
  Setup setup;
  setup.max_in_flight = 2;
  setup.feeds_tokens = true;
  const auto run = [&](const GenerateRequest& asked) {
    Rig rig(setup);
    const Answer answer = only_answer(rig, asked);
    CHECK(rig.backend.most_in_flight() == 2);
    return std::pair{answer.completions.at(0), rig.backend.batches()};
  };
  const auto [whole, batches] = run(request);
  CHECK(whole.tokens.size() == 5);
  REQUIRE(batches.size() == 5);  // whose last token is sure to end it is not planned ahead
  CHECK(batches[0].feeds.empty());
  for (size_t i = 1; i < batches.size(); ++i) {
    REQUIRE(batches[i].feeds.size() == 1);
    CHECK(batches[i].feeds[0].row == 0);
    CHECK(batches[i].feeds[0].request == 0);
  }
  GenerateRequest stopped = request;
  stopped.sampling.stop_token_ids = {whole.tokens[2]};
  const auto [cut, more] = run(stopped);
  const auto end = std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[2]) - whole.tokens.begin();
  CHECK(cut.finish == FinishReason::stop_token);
  CHECK(cut.tokens == Tokens(whole.tokens.begin(), whole.tokens.begin() + end + 1));
  CHECK(more.size() == cut.tokens.size() + 1);
}

TEST_CASE("a batch that fails while another is queued behind it stops the loop, and cancelling empties the backend") {
  Setup setup;
  setup.budget = 16;
  setup.max_in_flight = 2;
  setup.failing_call = 1;
  Rig rig(setup);
  for (TokenId first = 2; first < 10; ++first)
    rig.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(12, first)), {4, 5}, 0});
  CHECK(rig.loop.step().ok());
  CHECK(rig.loop.step().status().code() == Code::internal);
  CHECK(rig.loop.step().status().message() == "logits of row 0 are not finite");
  rig.loop.cancel_all();
  CHECK(rig.loop.num_pending() == 0);
}

TEST_CASE("memory that no batch size can do without stops the loop") {
  Setup setup;
  setup.rows_that_fit = 0;
  Rig rig(setup);
  rig.submit(LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens{3}), {4}, 0});
  CHECK(rig.loop.step().status().code() == Code::out_of_memory);
}

TEST_CASE("cancelling forgets everything asked so far, and the loop goes on with what comes next") {
  Setup setup;
  setup.budget = 8;
  setup.max_in_flight = 2;
  Rig rig(setup);
  for (const Request& request : Workload(8).requests(20)) rig.submit(request);
  for (int i = 0; i < 5; ++i) REQUIRE(rig.loop.step().ok());
  rig.loop.cancel_all();
  CHECK(rig.loop.num_pending() == 0);
  CHECK_FALSE(*rig.loop.step());
  const Request request = LoglikelihoodRequest{std::make_shared<const Tokens>(Tokens(30, 3)), {4, 5}, 0};
  rig.submit(request);
  rig.run();
  const std::vector<Answer> answers = rig.loop.poll();
  REQUIRE(answers.size() == 1);
  check_answer(answers[0], request, setup.max_model_len);
}

}  // namespace
}  // namespace assay
