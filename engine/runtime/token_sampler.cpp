#include "engine/runtime/token_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/check.h"
#include "engine/base/rng.h"

namespace assay {
namespace {

constexpr float kBarred = -std::numeric_limits<float>::infinity();
constexpr int kMaxSamples = 10'000;

// A token still in the running. Weights are probabilities up to a common factor; the largest is 1.
struct Candidate {
  TokenId token = 0;
  float logit = 0;
  double weight = 0;
};

bool likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

Status out_of_range(std::string_view field, double value, std::string_view range) {
  return invalid_argument(fmt::format("sampling.{}: {} is out of range, expected {}", field, value, range));
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.frequency_penalty != 0.0f || params.presence_penalty != 0.0f;
}

TokenId arg_max(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Everything that has a probability, at this temperature.
std::vector<Candidate> candidates_of(std::span<const float> logits, float temperature) {
  const float highest = *std::max_element(logits.begin(), logits.end()) / temperature;
  std::vector<Candidate> candidates;
  candidates.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i] / temperature;
    const double weight = logit == highest ? 1.0 : std::exp(static_cast<double>(logit) - static_cast<double>(highest));
    if (weight > 0) candidates.push_back({static_cast<TokenId>(i), logit, weight});
  }
  return candidates;
}

void keep_min_p(std::vector<Candidate>& candidates, float min_p) {
  if (min_p <= 0) return;
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < static_cast<double>(min_p); });
}

void keep_top_k(std::vector<Candidate>& candidates, int top_k) {
  if (top_k <= 0 || static_cast<size_t>(top_k) >= candidates.size()) return;
  std::vector<Candidate> ordered = candidates;
  std::nth_element(ordered.begin(), ordered.begin() + (top_k - 1), ordered.end(), likelier);
  const float lowest = ordered[static_cast<size_t>(top_k - 1)].logit;
  std::erase_if(candidates, [&](const Candidate& c) { return c.logit < lowest; });
}

// Dropping from the low end while the dropped sum is <= 1 - p is keeping from the high end until the kept sum is >= p.
// A heap hands out the high end without sorting what is dropped.
void keep_top_p(std::vector<Candidate>& candidates, float top_p) {
  if (top_p >= 1.0f) return;
  const double total = std::accumulate(candidates.begin(), candidates.end(), 0.0,
                                       [](double sum, const Candidate& c) { return sum + c.weight; });
  const auto less_likely = [](const Candidate& a, const Candidate& b) { return likelier(b, a); };
  std::make_heap(candidates.begin(), candidates.end(), less_likely);
  auto heap_end = candidates.end();
  double kept = 0;
  while (heap_end != candidates.begin() &&
         (heap_end == candidates.end() || kept < static_cast<double>(top_p) * total)) {
    std::pop_heap(candidates.begin(), heap_end, less_likely);
    kept += (--heap_end)->weight;
  }
  candidates.erase(candidates.begin(), heap_end);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
}

std::vector<Candidate> filtered(std::span<const float> logits, const TokenDraw& draw) {
  std::vector<Candidate> candidates = candidates_of(logits, draw.temperature);
  keep_min_p(candidates, draw.min_p);
  keep_top_k(candidates, draw.top_k);
  keep_top_p(candidates, draw.top_p);
  return candidates;
}

TokenDraw draw_of(const SamplingParams& params, int sample_index, int32_t position) {
  TokenDraw draw;
  draw.temperature = params.temperature;
  draw.min_p = params.min_p;
  draw.top_p = params.top_p;
  draw.top_k = params.top_k;
  draw.seed = params.seed;
  draw.sample_index = sample_index;
  draw.position = position;
  return draw;
}

// Uniform in (0, 1].
double race_draw(const TokenDraw& draw, TokenId token) {
  const uint64_t index = static_cast<uint64_t>(draw.position) << 32 | static_cast<uint32_t>(token);
  const uint64_t bits = random_bits(draw.seed, static_cast<uint64_t>(draw.sample_index), index);
  return static_cast<double>((bits >> 11) + 1) * 0x1.0p-53;
}

// Based on: Devroye. Non-uniform random variate generation. 1986 (the minimum of exponentials).
TokenId race(const std::vector<Candidate>& candidates, const TokenDraw& draw) {
  TokenId winner = candidates.front().token;
  double shortest = std::numeric_limits<double>::infinity();
  const auto run = [&](const Candidate& c) {
    const double u = race_draw(draw, c.token);
    if (1 - u >= shortest * c.weight) return;  // -ln(u) >= 1 - u: too late, whatever the logarithm
    const double wait = -std::log(u) / c.weight;
    if (wait < shortest) {
      shortest = wait;
      winner = c.token;
    }
  };
  // The likeliest first: its time turns most others away before their logarithm.
  const auto favorite = std::min_element(candidates.begin(), candidates.end(), likelier);
  run(*favorite);
  for (auto it = candidates.begin(); it != candidates.end(); ++it) {
    if (it != favorite) run(*it);
  }
  return winner;
}

double log_sum_exp(std::span<const float> logits) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - highest);
  return highest + std::log(sum);
}

std::vector<TokenLogprob> most_likely(std::span<const float> logits, int count, double normalizer) {
  const size_t kept = std::min(logits.size(), static_cast<size_t>(std::max(0, count)));
  if (kept == 0) return {};
  std::vector<TokenId> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto order = [&](TokenId a, TokenId b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), ids.end(), order);
  std::vector<TokenLogprob> top;
  for (size_t i = 0; i < kept; ++i) {
    top.push_back({ids[i], static_cast<float>(static_cast<double>(logits[static_cast<size_t>(ids[i])]) - normalizer)});
  }
  return top;
}

TokenId choose(std::span<const float> logits, const SamplingParams& params, int sample_index, int32_t position) {
  const TokenId best = arg_max(logits);
  if (params.temperature == 0.0f || logits[static_cast<size_t>(best)] == kBarred) return best;
  return draw_token(logits, draw_of(params, sample_index, position));
}

}  // namespace

Status check_sampling(const SamplingParams& params) {
  const auto within = [](double value, double low, double high) { return value >= low && value <= high; };
  constexpr double kMost = 1e6;
  if (params.temperature != 0.0f && !within(params.temperature, 1e-5f, kMost))
    return out_of_range("temperature", params.temperature, "0 (greedy), or 0.00001 to 1000000");
  if (params.top_k < 0) return out_of_range("top_k", params.top_k, "0 (off) or more");
  if (!within(params.top_p, 0, 1) || params.top_p == 0)
    return out_of_range("top_p", params.top_p, "above 0, at most 1");
  if (!within(params.min_p, 0, 1)) return out_of_range("min_p", params.min_p, "0 to 1");
  if (!within(params.repetition_penalty, 0, kMost) || params.repetition_penalty == 0)
    return out_of_range("repetition_penalty", params.repetition_penalty, "above 0, at most 1000000");
  if (!within(params.frequency_penalty, -2, 2))
    return out_of_range("frequency_penalty", params.frequency_penalty, "-2 to 2");
  if (!within(params.presence_penalty, -2, 2))
    return out_of_range("presence_penalty", params.presence_penalty, "-2 to 2");
  if (params.max_tokens < 1) return out_of_range("max_tokens", params.max_tokens, "1 or more");
  if (params.min_tokens < 0 || params.min_tokens > params.max_tokens)
    return out_of_range("min_tokens", params.min_tokens, fmt::format("0 to max_tokens ({})", params.max_tokens));
  if (params.num_samples < 1 || params.num_samples > kMaxSamples)
    return out_of_range("num_samples", params.num_samples, fmt::format("1 to {}", kMaxSamples));
  if (params.num_logprobs < 0) return out_of_range("num_logprobs", params.num_logprobs, "0 or more");
  for (const std::string& stop : params.stop) {
    if (stop.empty())
      return invalid_argument("sampling.stop: holds an empty string, expected text of at least one byte");
  }
  return ok_status();
}

bool needs_logits(const SamplingParams& params, int32_t num_generated) {
  return params.temperature != 0.0f || has_penalties(params) || num_generated < params.min_tokens;
}

std::optional<TokenDraw> token_draw(const SamplingParams& params, int sample_index, int32_t num_generated,
                                    int32_t position) {
  if (params.temperature == 0.0f || has_penalties(params) || num_generated < params.min_tokens) return std::nullopt;
  return draw_of(params, sample_index, position);
}

TokenId draw_token(std::span<const float> logits, const TokenDraw& draw) { return race(filtered(logits, draw), draw); }

std::vector<float> penalized_logits(std::span<const float> logits, const SamplingParams& params, const Tokens& history,
                                    int32_t num_prompt) {
  std::vector<float> row(logits.begin(), logits.end());
  if (!has_penalties(params)) return row;
  std::vector<int32_t> seen(row.size(), 0), generated(row.size(), 0);
  for (size_t i = 0; i < history.size(); ++i) {
    const auto token = static_cast<size_t>(history[i]);
    ASSAY_CHECK_LT(token, row.size());
    ++seen[token];
    if (i >= static_cast<size_t>(num_prompt)) ++generated[token];
  }
  for (size_t i = 0; i < row.size(); ++i) {
    if (seen[i] > 0) row[i] = row[i] > 0 ? row[i] / params.repetition_penalty : row[i] * params.repetition_penalty;
    if (generated[i] == 0) continue;
    row[i] -= params.frequency_penalty * static_cast<float>(generated[i]);
    row[i] -= params.presence_penalty;
  }
  return row;
}

SampledToken sample_token(std::span<const float> logits, const SamplingParams& params, int sample_index,
                          const Tokens& history, int32_t num_prompt, const Tokens& barred) {
  ASSAY_CHECK(!logits.empty());
  std::vector<float> row = penalized_logits(logits, params, history, num_prompt);
  for (const TokenId token : barred) {
    if (token >= 0 && static_cast<size_t>(token) < row.size()) row[static_cast<size_t>(token)] = kBarred;
  }
  SampledToken sampled;
  sampled.token = choose(row, params, sample_index, static_cast<int32_t>(history.size()));
  const double normalizer = log_sum_exp(logits);
  sampled.logprob = static_cast<float>(static_cast<double>(logits[static_cast<size_t>(sampled.token)]) - normalizer);
  sampled.top = most_likely(logits, params.num_logprobs, normalizer);
  return sampled;
}

std::vector<float> filtered_probabilities(std::span<const float> logits, const SamplingParams& params) {
  std::vector<float> probabilities(logits.size(), 0.0f);
  if (params.temperature == 0.0f) {
    probabilities[static_cast<size_t>(arg_max(logits))] = 1.0f;
    return probabilities;
  }
  const std::vector<Candidate> candidates = filtered(logits, draw_of(params, 0, 0));
  double total = 0;
  for (const Candidate& c : candidates) total += c.weight;
  for (const Candidate& c : candidates)
    probabilities[static_cast<size_t>(c.token)] = static_cast<float>(c.weight / total);
  return probabilities;
}

}  // namespace assay
