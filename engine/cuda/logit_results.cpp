#include "engine/cuda/logit_results.h"

#include <algorithm>
#include <cmath>

namespace assay::cuda {
namespace {

float logprob_of(float logit, double log_sum) { return static_cast<float>(static_cast<double>(logit) - log_sum); }

bool better(const TopEntry& a, const TopEntry& b) { return a.logit != b.logit ? a.logit > b.logit : a.token < b.token; }

std::vector<TokenLogprob> best_of(std::vector<TopEntry> entries, size_t count, double log_sum) {
  count = std::min(count, entries.size());
  std::partial_sort(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(count), entries.end(), better);
  std::vector<TokenLogprob> top;
  for (size_t i = 0; i < count; ++i) top.push_back({entries[i].token, logprob_of(entries[i].logit, log_sum)});
  return top;
}

// A row's candidates: the best of every chunk.
std::vector<TopEntry> candidates(const LogitReadings& readings, size_t row, int64_t wanted) {
  std::vector<TopEntry> entries;
  const auto chunks = static_cast<size_t>(readings.num_chunks), stride = static_cast<size_t>(readings.max_top);
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t rest = readings.vocab_size - static_cast<int64_t>(chunk) * readings.vocab_chunk;
    const TopEntry* from = readings.top.data() + (row * chunks + chunk) * stride;
    entries.insert(entries.end(), from, from + std::min({wanted, readings.vocab_chunk, rest}));
  }
  return entries;
}

std::vector<TopEntry> all_entries(const std::vector<float>& logits) {
  std::vector<TopEntry> entries(logits.size());
  for (size_t id = 0; id < logits.size(); ++id) entries[id] = {logits[id], static_cast<int32_t>(id)};
  return entries;
}

}  // namespace

RowStats row_stats(const ChunkStats* chunks, int32_t num_chunks) {
  RowStats stats;
  stats.max = chunks[0].max;
  stats.argmax = chunks[0].argmax;
  for (int32_t c = 0; c < num_chunks; ++c) {
    stats.finite = stats.finite && chunks[c].bad == 0;
    if (!(chunks[c].max > stats.max)) continue;
    stats.max = chunks[c].max;
    stats.argmax = chunks[c].argmax;
  }
  double total = 0;
  for (int32_t c = 0; c < num_chunks; ++c) {
    total += static_cast<double>(chunks[c].sum) *
             std::exp(static_cast<double>(chunks[c].max) - static_cast<double>(stats.max));
  }
  stats.log_sum = static_cast<double>(stats.max) + std::log(total);
  return stats;
}

bool answer_request(const LogitRequest& request, const LogitReadings& readings, size_t row, size_t first_target,
                    LogitResult& result) {
  const auto chunks = static_cast<size_t>(readings.num_chunks);
  const RowStats stats = row_stats(readings.stats.data() + row * chunks, readings.num_chunks);
  if (!stats.finite) return false;
  result.argmax = stats.argmax;
  result.argmax_logprob = logprob_of(stats.max, stats.log_sum);
  result.target_logprobs.clear();
  for (size_t i = 0; i < request.targets.size(); ++i) {
    result.target_logprobs.push_back(logprob_of(readings.target_logits[first_target + i], stats.log_sum));
  }
  if (request.num_logprobs > 0) {
    result.top =
        best_of(result.logits.empty() ? candidates(readings, row, request.num_logprobs) : all_entries(result.logits),
                static_cast<size_t>(request.num_logprobs), stats.log_sum);
  }
  if (!request.want_logits) result.logits.clear();
  if (request.draw) {
    result.drawn = readings.drawn[row].token;
    result.drawn_logprob = logprob_of(readings.drawn[row].logit, stats.log_sum);
  }
  return true;
}

}  // namespace assay::cuda
