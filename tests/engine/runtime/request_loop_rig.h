#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <variant>

#include "engine/base/text_util.h"
#include "engine/runtime/request_loop.h"
#include "tests/support/fake_backend.h"

// Request loops over a fake backend, random work for them, and what its answers must be.
namespace assay::testing {

inline constexpr int kVocab = 40;
inline constexpr TokenId kEos = 1;

inline std::string letter(TokenId token) { return std::string(1, static_cast<char>('A' + token)); }
inline std::string spell(const Tokens& tokens, bool) {
  std::string text;
  for (const TokenId token : tokens) text += letter(token);
  return text;
}
inline const TokenTexts kTexts = {letter, [](TokenId) { return false; }, spell};

using Request = std::variant<LoglikelihoodRequest, GenerateRequest>;

struct Setup {
  int32_t budget = 64;
  int32_t kv_blocks = 512;
  int32_t max_sequences = 16;
  bool prefix_tree = true;
  int32_t rows_that_fit = std::numeric_limits<int32_t>::max();
  int max_model_len = 1000;
  int max_in_flight = 1;
  bool draws_tokens = false;
  bool feeds_tokens = false;
  int failing_call = -1;
  int full_call = -1;
};

inline FakeBackendOptions backend_options(const Setup& setup) {
  FakeBackendOptions options;
  options.model.vocab_size = kVocab;
  options.num_kv_blocks = setup.kv_blocks;
  options.max_batch_tokens = setup.budget;
  options.rows_that_fit = setup.rows_that_fit;
  options.max_in_flight = setup.max_in_flight;
  options.draws_tokens = setup.draws_tokens;
  options.feeds_tokens = setup.feeds_tokens;
  options.failing_call = setup.failing_call;
  options.full_call = setup.full_call;
  return options;
}

inline RequestLoopOptions loop_options(const Setup& setup) {
  RequestLoopOptions options;
  options.vocab_size = kVocab;
  options.max_model_len = setup.max_model_len;
  options.eos_tokens = {kEos};
  options.max_batch_tokens = setup.budget;
  options.max_sequences = setup.max_sequences;
  options.num_threads = 1;
  options.prefix_tree = setup.prefix_tree;
  return options;
}

// A loop over a fake backend.
struct Rig {
  explicit Rig(const Setup& setup) : backend(backend_options(setup)), loop(backend, kTexts, loop_options(setup)) {}
  FakeBackend backend;
  RequestLoop loop;

  RequestId submit(const Request& request) {
    const auto id = std::visit([&](const auto& r) { return loop.submit(r); }, request);
    REQUIRE(id.ok());
    return *id;
  }
  void run() {
    for (int steps = 0;; ++steps) {
      REQUIRE(steps < 100000);
      const auto more = loop.step();
      REQUIRE(more.ok());
      if (!*more) return;
    }
  }
};

// The one answer of a loop that was asked one thing.
inline Answer only_answer(Rig& rig, const Request& request) {
  rig.submit(request);
  rig.run();
  std::vector<Answer> answers = rig.loop.poll();
  REQUIRE(answers.size() == 1);
  return std::move(answers[0]);
}

// What the answer must be, from the model's definition alone.
inline Answer expected_answer(const LoglikelihoodRequest& request) {
  Tokens tokens = *request.context;
  tokens.insert(tokens.end(), request.continuation.begin(), request.continuation.end());
  const auto rows = FakeModel{kVocab}.rows(tokens, tokens.size());
  Answer answer;
  Loglikelihood& out = answer.loglikelihoods.emplace_back();
  out.is_greedy = true;
  for (size_t i = 0; i < request.continuation.size(); ++i) {
    LogitRequest wanted;
    wanted.targets = {request.continuation[i]};
    wanted.num_logprobs = request.num_logprobs;
    const LogitResult result = FakeModel::result(rows[request.context->size() - 1 + i], wanted);
    out.logprobs.push_back(result.target_logprobs[0]);
    out.sum += static_cast<double>(result.target_logprobs[0]);
    out.is_greedy = out.is_greedy && result.argmax == request.continuation[i];
    if (request.num_logprobs > 0) out.top_logprobs.push_back(result.top);
  }
  return answer;
}

inline Completion expected_completion(const GenerateRequest& request, int sample_index, int max_model_len) {
  Completion out;
  out.sample_index = sample_index;
  Tokens history = *request.prompt;
  const auto num_prompt = static_cast<int32_t>(history.size());
  for (;;) {
    const std::vector<float> row = FakeModel{kVocab}.rows(history, request.prompt->size()).back();
    const bool early = static_cast<int>(out.tokens.size()) < request.sampling.min_tokens;
    const SampledToken sampled =
        sample_token(row, request.sampling, sample_index, history, num_prompt, early ? Tokens{kEos} : Tokens{});
    history.push_back(sampled.token);
    out.tokens.push_back(sampled.token);
    out.logprobs.push_back(sampled.logprob);
    if (request.sampling.num_logprobs > 0) out.top_logprobs.push_back(sampled.top);
    if (sampled.token == kEos && !request.sampling.ignore_eos) {
      out.finish = FinishReason::stop_token;
      out.stop_match = letter(kEos);
      out.text = spell({out.tokens.begin(), out.tokens.end() - 1}, true);
      return out;
    }
    out.text = spell(out.tokens, true);
    for (const std::string& stop : request.sampling.stop) {
      if (const size_t at = out.text.find(stop); at != std::string::npos) {
        out.finish = FinishReason::stop_string;
        out.stop_match = stop;
        out.text.resize(at);
        return out;
      }
    }
    out.finish = FinishReason::length;
    if (static_cast<int>(out.tokens.size()) == request.sampling.max_tokens) return out;
    if (static_cast<int>(history.size()) > max_model_len) return out;
  }
}

inline bool same(const std::vector<std::vector<TokenLogprob>>& a, const std::vector<std::vector<TokenLogprob>>& b) {
  const auto equal = [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.token == y.token && x.logprob == y.logprob;
  };
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::equal(a[i].begin(), a[i].end(), b[i].begin(), b[i].end(), equal)) return false;
  }
  return true;
}

inline void check_answer(const Answer& answer, const Request& request, int max_model_len) {
  REQUIRE(answer.error.empty());
  if (const auto* scored = std::get_if<LoglikelihoodRequest>(&request)) {
    const Loglikelihood expected = expected_answer(*scored).loglikelihoods[0];
    REQUIRE(answer.loglikelihoods.size() == 1);
    CHECK(answer.completions.empty());
    CHECK(answer.loglikelihoods[0].sum == expected.sum);
    CHECK(answer.loglikelihoods[0].logprobs == expected.logprobs);
    CHECK(answer.loglikelihoods[0].is_greedy == expected.is_greedy);
    CHECK(same(answer.loglikelihoods[0].top_logprobs, expected.top_logprobs));
    CHECK(answer.prompt_tokens == static_cast<int64_t>(scored->context->size() + scored->continuation.size()));
    return;
  }
  const auto& generated = std::get<GenerateRequest>(request);
  CHECK(answer.loglikelihoods.empty());
  REQUIRE(answer.completions.size() == static_cast<size_t>(generated.sampling.num_samples));
  CHECK(answer.prompt_tokens == static_cast<int64_t>(generated.prompt->size()));
  for (int i = 0; i < generated.sampling.num_samples; ++i) {
    const Completion& completion = answer.completions[static_cast<size_t>(i)];
    const Completion expected = expected_completion(generated, i, max_model_len);
    CHECK(completion.sample_index == i);
    CHECK(completion.tokens == expected.tokens);
    CHECK(completion.text == expected.text);
    CHECK(completion.finish == expected.finish);
    CHECK(completion.stop_match == expected.stop_match);
    for (size_t t = 0; t < expected.logprobs.size(); ++t) {
      CHECK(std::abs(completion.logprobs[t] - expected.logprobs[t]) < 1e-5f);
    }
    CHECK(completion.top_logprobs.size() == expected.top_logprobs.size());
  }
}

// Requests over few ids, so that prefixes are shared by design and by accident, whole requests repeat, and some lie
// inside others.
class Workload {
 public:
  explicit Workload(uint32_t seed) : random_(seed) {}

  std::vector<Request> requests(int count) {
    std::vector<Request> requests;
    SharedTokens context;
    while (static_cast<int>(requests.size()) < count) {
      if (context == nullptr || below(3) == 0) context = next_context(context);
      if (below(4) == 0)
        requests.push_back(generate(context));
      else
        requests.push_back(LoglikelihoodRequest{context, tokens(1 + below(6)), below(4) == 0 ? 3 : 0});
      if (below(10) == 0) requests.push_back(requests.back());
    }
    return requests;
  }
  int below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }
  template <class T>
  void shuffle(std::vector<T>& list) {
    std::shuffle(list.begin(), list.end(), random_);
  }

 private:
  Tokens tokens(int count) {
    Tokens list(static_cast<size_t>(count));
    for (TokenId& token : list) token = 2 + below(below(3) == 0 ? kVocab - 2 : 3);
    return list;
  }
  SharedTokens next_context(const SharedTokens& last) {
    Tokens next;
    if (last != nullptr && below(3) > 0)
      next.assign(last->begin(), last->begin() + below(static_cast<int>(last->size()) + 1));
    const Tokens more = tokens(1 + below(30));
    next.insert(next.end(), more.begin(), more.end());
    if (next.size() > 60) next.resize(60);
    return std::make_shared<const Tokens>(std::move(next));
  }
  GenerateRequest generate(const SharedTokens& prompt) {
    GenerateRequest request{prompt, {}};
    SamplingParams& sampling = request.sampling;
    sampling.max_tokens = 1 + below(40);
    sampling.min_tokens = below(sampling.max_tokens);
    sampling.ignore_eos = below(2) == 0;
    sampling.num_samples = 1 + below(3);
    sampling.num_logprobs = below(2) * 2;
    sampling.seed = static_cast<uint64_t>(below(1000));
    if (below(2) == 0) sampling.temperature = 0.9f;
    if (below(4) == 0) sampling.top_p = 0.7f;
    if (below(4) == 0) sampling.repetition_penalty = 1.2f;
    if (below(3) == 0) sampling.stop = {letter(2 + below(20))};
    return request;
  }
  std::mt19937 random_;
};

// The longest of these requests is 60 + 40 tokens.
inline constexpr int32_t kFewestBlocks = 7;

// The first tokens that greedy decoding makes of a request where there is room.
inline Tokens generated_tokens(GenerateRequest request, size_t count) {
  request.sampling.max_tokens = static_cast<int>(count);
  Rig rig({});
  return only_answer(rig, request).completions.at(0).tokens;
}

// How often the scheduler's harder paths were walked.
struct Paths {
  int64_t preemptions = 0, copies = 0, extra_writes = 0, feeds = 0, mixed = 0, chains = 0;

  void count(const Rig& rig) {
    preemptions += rig.loop.stats().preemptions;
    for (const Batch& batch : rig.backend.batches()) {
      copies += static_cast<int64_t>(batch.copies.size());
      extra_writes += static_cast<int64_t>(batch.extra_writes.size());
      feeds += static_cast<int64_t>(batch.feeds.size());
      for (const KvCopy& copy : batch.copies) {
        mixed += std::any_of(batch.extra_writes.begin(), batch.extra_writes.end(),
                             [&](const KvExtraWrite& extra) { return extra.block == copy.to; });
        chains += std::any_of(batch.copies.begin(), batch.copies.end(),
                              [&](const KvCopy& other) { return other.to == copy.from; });
      }
    }
  }
};

inline void check_all_answered(const Setup& setup, const std::vector<Request>& requests, uint32_t seed, Paths& paths) {
  Workload dice(seed);
  Rig rig(setup);
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  dice.shuffle(order);
  std::map<RequestId, size_t> asked;
  std::vector<Answer> answers;
  const auto collect = [&] {
    for (Answer& answer : rig.loop.poll()) answers.push_back(std::move(answer));
  };
  const bool in_waves = dice.below(2) == 0;
  for (const size_t index : order) {
    asked[rig.submit(requests[index])] = index;
    if (in_waves && dice.below(4) == 0) REQUIRE(rig.loop.step().ok());
    if (dice.below(8) == 0) collect();
  }
  rig.run();
  collect();
  CHECK(answers.size() == requests.size());
  CHECK(rig.loop.num_pending() == 0);
  int64_t computed = 0;
  for (const Answer& answer : answers) {
    REQUIRE(asked.count(answer.id) == 1);
    check_answer(answer, requests[asked[answer.id]], setup.max_model_len);
    computed += answer.computed_tokens;
    asked.erase(answer.id);
  }
  CHECK(asked.empty());
  CHECK(computed == rig.loop.stats().tokens_computed);
  paths.count(rig);
}

}  // namespace assay::testing
