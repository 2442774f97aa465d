#include "engine/cpu/logits.h"

#include <algorithm>

namespace assay::cpu {
namespace {

float logprob_of(float logit, double log_sum) { return static_cast<float>(static_cast<double>(logit) - log_sum); }

}  // namespace

std::vector<TokenLogprob> top_logprobs(const float* logits, int64_t vocab_size, int count, double log_sum) {
  const auto kept = static_cast<size_t>(std::clamp<int64_t>(count, 0, vocab_size));
  if (kept == 0) return {};
  // A heap whose front is the worst kept. Ids come in ascending order, so an equal logit never displaces an earlier
  // one.
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
  };
  std::vector<TokenLogprob> heap;
  heap.reserve(kept + 1);
  for (int64_t id = 0; id < vocab_size; ++id) {
    if (heap.size() == kept && !(logits[id] > heap.front().logprob)) continue;
    heap.push_back({static_cast<TokenId>(id), logits[id]});
    std::push_heap(heap.begin(), heap.end(), better);
    if (heap.size() <= kept) continue;
    std::pop_heap(heap.begin(), heap.end(), better);
    heap.pop_back();
  }
  std::sort(heap.begin(), heap.end(), better);
  for (TokenLogprob& entry : heap) entry.logprob = logprob_of(entry.logprob, log_sum);
  return heap;
}

bool answer_request(const LogitRequest& request, const float* logits, int64_t vocab_size, const Kernels& kernels,
                    LogitResult& result) {
  const LogitStats stats = kernels.logit_stats(logits, vocab_size);
  if (!stats.finite) return false;
  result.argmax = stats.argmax;
  result.argmax_logprob = logprob_of(stats.max, stats.log_sum);
  result.target_logprobs.clear();
  for (const TokenId target : request.targets) {
    result.target_logprobs.push_back(logprob_of(logits[target], stats.log_sum));
  }
  result.top = top_logprobs(logits, vocab_size, request.num_logprobs, stats.log_sum);
  if (request.want_logits) result.logits.assign(logits, logits + vocab_size);
  return true;
}

}  // namespace assay::cpu
