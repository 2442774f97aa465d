#include "engine/runtime/token_sampler.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/rng.h"
#include "engine/base/text_util.h"
#include "engine/formats/safetensors.h"
#include "tests/support/shared_folder.h"

namespace assay {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

SamplingParams at_temperature(float temperature) {
  SamplingParams params;
  params.temperature = temperature;
  return params;
}

TokenId sampled(const std::vector<float>& logits, const SamplingParams& params, const Tokens& history = {0},
                const Tokens& barred = {}, int sample_index = 0) {
  return sample_token(logits, params, sample_index, history, 1, barred).token;
}

TEST_CASE("greedy takes the highest logit, the lowest id among equals") {
  CHECK(sampled({0, 2, 1, 2}, {}) == 1);
  CHECK(sampled({-1, -1, -1}, {}) == 0);
}

TEST_CASE("the log-probability comes from the unmodified logits, whatever was barred or penalized") {
  SamplingParams params;
  params.repetition_penalty = 5.0f;
  params.num_logprobs = 2;
  const std::vector<float> logits = {1.0f, 2.0f, 0.5f};
  const SampledToken token = sample_token(logits, params, 0, {1}, 1, {0});
  const double normalizer = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(0.5));
  CHECK(token.token == 2);
  CHECK(token.logprob == doctest::Approx(0.5 - normalizer).epsilon(1e-6));
  REQUIRE(token.top.size() == 2);
  CHECK(token.top[0].token == 1);
  CHECK(token.top[0].logprob == doctest::Approx(2.0 - normalizer).epsilon(1e-6));
  CHECK(token.top[1].token == 0);
}

TEST_CASE("barred ids are not chosen, by greedy or by chance") {
  CHECK(sampled({5, 1, 0}, {}, {0}, {0}) == 1);
  SamplingParams params = at_temperature(1.0f);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    params.seed = seed;
    CHECK(sampled({5, 1, 0}, params, {0}, {0, 9999}) != 0);
  }
  CHECK(sampled({5, 1}, params, {0}, {0, 1}) == 0);
}

TEST_CASE("repetition is divided or multiplied once over prompt and output, frequency and presence over output only") {
  SamplingParams params;
  params.repetition_penalty = 2.0f;
  CHECK(penalized_logits(std::vector<float>{4, -4, 1, 0}, params, {0, 1, 1, 0}, 2) == std::vector<float>{2, -8, 1, 0});
  params.repetition_penalty = 1.0f;
  params.frequency_penalty = 0.5f;
  CHECK(penalized_logits(std::vector<float>{4, 4, 4}, params, {0, 0, 1, 1}, 2) == std::vector<float>{4, 3, 4});
  params.frequency_penalty = 0.0f;
  params.presence_penalty = 1.5f;
  CHECK(penalized_logits(std::vector<float>{4, 4, 4}, params, {0, 0, 1, 1}, 2) == std::vector<float>{4, 2.5f, 4});
}

TEST_CASE("top-k keeps ties with the k-th, top-p what reaches p, min-p what is near the best") {
  SamplingParams params = at_temperature(1.0f);
  params.top_k = 2;
  CHECK(filtered_probabilities(std::vector<float>{1, 3, 1, 0}, params)[3] == 0);
  CHECK(filtered_probabilities(std::vector<float>{1, 3, 1, 0}, params)[0] > 0);
  CHECK(filtered_probabilities(std::vector<float>{1, 3, 1, 0}, params)[2] > 0);

  params = at_temperature(1.0f);
  params.top_p = 0.5f;
  CHECK(filtered_probabilities(std::vector<float>{0, 0, 0, 0}, params) == std::vector<float>{0.5f, 0.5f, 0, 0});
  params.top_p = 1e-6f;
  CHECK(filtered_probabilities(std::vector<float>{0, 1, 0}, params) == std::vector<float>{0, 1, 0});

  params = at_temperature(1.0f);
  params.min_p = 0.5f;
  CHECK(filtered_probabilities(std::vector<float>{0, std::log(0.6f), std::log(0.4f)}, params)[1] > 0);
  CHECK(filtered_probabilities(std::vector<float>{0, std::log(0.6f), std::log(0.4f)}, params)[2] == 0);
}

TEST_CASE("temperature zero is certain and minus infinity is impossible") {
  CHECK(filtered_probabilities(std::vector<float>{1, 2}, {}) == std::vector<float>{0, 1});
  CHECK(filtered_probabilities(std::vector<float>{1, -kInfinity}, at_temperature(0.7f)) == std::vector<float>{1, 0});
}

TEST_CASE("a draw depends on seed, sample and position alone") {
  std::vector<float> logits(50);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = std::sin(static_cast<float>(i));
  SamplingParams params = at_temperature(1.0f);
  params.seed = 42;
  const TokenId first = sampled(logits, params, {1, 2, 3});
  CHECK(sampled(logits, params, {7, 8, 9}) == first);
  int by_seed = 0, by_sample = 0, by_position = 0;
  for (int i = 1; i <= 20; ++i) {
    SamplingParams other = params;
    other.seed += static_cast<uint64_t>(i);
    by_seed += sampled(logits, other, {1, 2, 3}) != first;
    by_sample += sampled(logits, params, {1, 2, 3}, {}, i) != first;
    by_position += sampled(logits, params, Tokens(static_cast<size_t>(3 + i), 1)) != first;
  }
  CHECK(by_seed > 10);
  CHECK(by_sample > 10);
  CHECK(by_position > 10);
}

TEST_CASE("the draw is the race that the header describes") {
  std::mt19937 random(2);
  std::vector<float> logits(100);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    for (float& logit : logits) logit = static_cast<float>(random() % 1000) / 200.0f;
    SamplingParams params = at_temperature(1.3f);
    params.seed = seed;
    params.top_k = 60;
    const std::vector<float> probabilities = filtered_probabilities(logits, params);
    const Tokens history(static_cast<size_t>(1 + seed % 7), 0);
    TokenId winner = -1;
    double shortest = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
      if (probabilities[v] == 0) continue;
      const uint64_t bits = random_bits(seed, 5, uint64_t{history.size()} << 32 | v);
      const double wait =
          -std::log((static_cast<double>(bits >> 11) + 1) * 0x1.0p-53) / static_cast<double>(probabilities[v]);
      if (winner < 0 || wait < shortest) {
        shortest = wait;
        winner = static_cast<TokenId>(v);
      }
    }
    CHECK(sampled(logits, params, history, {}, 5) == winner);
  }
}

TEST_CASE("a backend may draw where nothing changes the row first, and draws the same token") {
  SamplingParams params = at_temperature(0.8f);
  params.top_p = 0.9f;
  params.top_k = 30;
  params.seed = 4;
  std::mt19937 random(6);
  for (int round = 0; round < 50; ++round) {
    std::vector<float> logits(200);
    for (float& logit : logits) logit = std::normal_distribution<float>(0, 3)(random);
    const Tokens history(static_cast<size_t>(round + 1), 5);
    const auto draw = token_draw(params, 2, round, static_cast<int32_t>(history.size()));
    REQUIRE(draw);
    CHECK(draw_token(logits, *draw) == sampled(logits, params, history, {}, 2));
  }
  params.min_tokens = 3;
  CHECK_FALSE(token_draw(params, 0, 2, 9));
  CHECK(token_draw(params, 0, 3, 9));
  params.presence_penalty = 0.5f;
  CHECK_FALSE(token_draw(params, 0, 3, 9));
  CHECK_FALSE(token_draw({}, 0, 3, 9));  // greedy
}

TEST_CASE("tokens are drawn as often as their probabilities say") {
  const std::vector<float> logits = {1.0f, 0.0f, 2.0f, -1.0f, -kInfinity};
  SamplingParams params = at_temperature(0.8f);
  const std::vector<float> expected = filtered_probabilities(logits, params);
  std::vector<int> counts(logits.size());
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    params.seed = static_cast<uint64_t>(i);
    ++counts[static_cast<size_t>(sampled(logits, params))];
  }
  double chi_square = 0;
  for (size_t i = 0; i < 4; ++i) {
    const double mean = static_cast<double>(expected[i]) * kDraws;
    chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  CHECK(counts[4] == 0);
  CHECK(chi_square < 16.3);  // 3 degrees of freedom, one in a thousand; the seeds are fixed
}

TEST_CASE("a small change of the logits changes few draws") {
  std::mt19937 random(1);
  std::vector<float> logits(200), moved(200);
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(random() % 1000) / 250.0f;
    moved[i] = logits[i] + static_cast<float>(random() % 1000) / 100000.0f;
  }
  SamplingParams params = at_temperature(1.0f);
  int changed = 0;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    params.seed = seed;
    changed += sampled(logits, params) != sampled(moved, params);
  }
  CHECK(changed < 20);
}

TEST_CASE("sampling fields out of range are refused by name") {
  const auto message = [](void (*spoil)(SamplingParams&)) {
    SamplingParams params;
    spoil(params);
    const Status status = check_sampling(params);
    CHECK(status.code() == Code::invalid_argument);
    return status.message();
  };
  CHECK(check_sampling({}).ok());
  CHECK(message([](SamplingParams& p) { p.temperature = -1; }) ==
        "sampling.temperature: -1 is out of range, expected 0 (greedy), or 0.00001 to 1000000");
  CHECK(starts_with(message([](SamplingParams& p) { p.temperature = NAN; }), "sampling.temperature"));
  CHECK(starts_with(message([](SamplingParams& p) { p.top_k = -1; }), "sampling.top_k"));
  CHECK(starts_with(message([](SamplingParams& p) { p.top_p = 0; }), "sampling.top_p"));
  CHECK(starts_with(message([](SamplingParams& p) { p.top_p = 1.5f; }), "sampling.top_p"));
  CHECK(starts_with(message([](SamplingParams& p) { p.min_p = 2; }), "sampling.min_p"));
  CHECK(starts_with(message([](SamplingParams& p) { p.repetition_penalty = 0; }), "sampling.repetition_penalty"));
  CHECK(starts_with(message([](SamplingParams& p) { p.frequency_penalty = 3; }), "sampling.frequency_penalty"));
  CHECK(starts_with(message([](SamplingParams& p) { p.presence_penalty = -3; }), "sampling.presence_penalty"));
  CHECK(starts_with(message([](SamplingParams& p) { p.max_tokens = 0; }), "sampling.max_tokens"));
  CHECK(starts_with(message([](SamplingParams& p) { p.min_tokens = 257; }), "sampling.min_tokens"));
  CHECK(starts_with(message([](SamplingParams& p) { p.num_samples = 0; }), "sampling.num_samples"));
  CHECK(starts_with(message([](SamplingParams& p) { p.num_logprobs = -1; }), "sampling.num_logprobs"));
  CHECK(starts_with(message([](SamplingParams& p) { p.stop = {""}; }), "sampling.stop"));
}

// "T0.7.vllm_order_minp0.02_k50_p0.9" -> parameters.
SamplingParams parse_case(const std::string& name) {
  const size_t dot = name.find('.', name.find('.') + 1);
  SamplingParams params = at_temperature(static_cast<float>(*parse_double(name.substr(1, dot - 1))));
  for (const std::string& part : split(name.substr(dot + 1), "_")) {
    if (starts_with(part, "minp"))
      params.min_p = static_cast<float>(*parse_double(part.substr(4)));
    else if (starts_with(part, "p"))
      params.top_p = static_cast<float>(*parse_double(part.substr(1)));
    else if (starts_with(part, "k"))
      params.top_k = static_cast<int>(*parse_int(part.substr(1)));
  }
  return params;
}

TEST_CASE("filters, penalties and log-probabilities agree with the recorded ones") {
  const auto folder = testing::shared_folder();
  if (!folder) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const Path path = *folder / "oracle/model/sampling";
  const auto arrays = SafetensorsFile::open(path / "sampling.safetensors");
  REQUIRE(arrays.ok());
  const auto text = real_files().read(path / "meta.json");
  REQUIRE(text.ok());
  const auto meta = Json::parse(*text, "meta.json");
  REQUIRE(meta.ok());
  const auto floats = [&](const std::string& name) { return to_floats(*arrays->find(name)).value(); };
  int num_sets = 0, num_arrays = 0;
  for (const auto& [row, about] : meta->as_object()) {
    if (about.find("cases") == nullptr) continue;
    CAPTURE(row);
    const std::vector<float> logits = floats(row + ".logits");

    SamplingParams all;
    all.num_logprobs = static_cast<int>(logits.size());
    const std::vector<float> logprobs = floats(row + ".logprobs_f32");
    for (const auto& [token, logprob] : sample_token(logits, all, 0, {0}, 1, {}).top) {
      if (std::isinf(logprobs[static_cast<size_t>(token)]))
        CHECK(std::isinf(logprob));
      else
        CHECK(std::abs(logprob - logprobs[static_cast<size_t>(token)]) < 1e-5f);
    }

    SamplingParams repetition;
    repetition.repetition_penalty = 1.3f;
    const auto penalized = penalized_logits(logits, repetition, {3, 17, 17, 500, 999, 803}, 6);
    CHECK(penalized == floats(row + ".repetition1.3_after_ids_3_17_17_500_999_803"));

    for (const auto& [name, expected] : about.find("cases")->as_object()) {
      if (name.find("hf_order") != std::string::npos) continue;
      CAPTURE(name);
      const std::vector<float> ours = filtered_probabilities(logits, parse_case(name.substr(row.size() + 1)));
      const auto kept = std::count_if(ours.begin(), ours.end(), [](float p) { return p > 0; });
      CHECK(kept == expected.find("kept")->as_int());
      ++num_sets;
      if (const Json* ids = expected.find("kept_ids");
          ids != nullptr && !ids->is_null() && row != "ties" && row != "all_equal") {
        for (const Json& id : ids->as_array()) CHECK(ours[static_cast<size_t>(id.as_int())] > 0);
      }
      if (arrays->find(name + ".probs") == nullptr) continue;
      ++num_arrays;
      const std::vector<float> theirs = floats(name + ".probs");
      const bool equals_part = row == "ties" || row == "all_equal";  // which of equals goes first differs
      std::vector<float> a = ours, b = theirs;
      if (equals_part) {
        std::sort(a.begin(), a.end());
        std::sort(b.begin(), b.end());
      }
      for (size_t i = 0; i < a.size(); ++i) REQUIRE(std::abs(a[i] - b[i]) <= 1e-6f + 2e-5f * b[i]);
    }
  }
  MESSAGE("survivor sets compared: " << num_sets << ", probability arrays: " << num_arrays);
  CHECK(num_sets > 100);
}

}  // namespace
}  // namespace assay
