#include "engine/runtime/request_plan.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

#include "engine/base/check.h"

namespace assay {
namespace {

// What the model is fed for one request, as two pieces that stay where they are. The last token of a continuation is
// predicted, never fed.
struct FedTokens {
  const Tokens* context = nullptr;
  std::span<const TokenId> tail;
  size_t index = 0;  // of the request in its list
  bool scores = false;

  size_t size() const { return context->size() + tail.size(); }
  TokenId operator[](size_t i) const { return i < context->size() ? (*context)[i] : tail[i - context->size()]; }
  // The tokens from i on that lie in one piece.
  std::span<const TokenId> piece(size_t i) const {
    return i < context->size() ? std::span(*context).subspan(i) : tail.subspan(i - context->size());
  }
};

// Length of the common prefix of two equally long pieces. Whole strides are compared as bytes: shots and instructions
// make most of these hundreds of tokens long.
size_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  constexpr size_t kStride = 64;
  size_t i = 0;
  while (i + kStride <= a.size() && std::memcmp(&a[i], &b[i], kStride * sizeof(TokenId)) == 0) i += kStride;
  while (i < a.size() && a[i] == b[i]) ++i;
  return i;
}

size_t common_prefix(const FedTokens& a, const FedTokens& b) {
  const size_t limit = std::min(a.size(), b.size());
  size_t at = a.context == b.context ? a.context->size() : 0;
  while (at < limit) {
    const std::span<const TokenId> x = a.piece(at), y = b.piece(at);
    const size_t length = std::min(x.size(), y.size());
    const size_t common = common_prefix(x.first(length), y.first(length));
    at += common;
    if (common < length) break;
  }
  return at;
}

// By tokens, a list before its own prefixes: whoever is covered by another comes right after it. Scoring first among
// equals, then by submission.
bool runs_before(const FedTokens& a, const FedTokens& b) {
  const size_t common = common_prefix(a, b);
  if (common < std::min(a.size(), b.size())) return a[common] < b[common];
  if (a.size() != b.size()) return a.size() > b.size();
  if (a.scores != b.scores) return a.scores;
  return a.index < b.index;
}

std::vector<FedTokens> fed_tokens(const std::vector<PendingLoglikelihood>& loglikelihoods,
                                  const std::vector<PendingGenerate>& generates) {
  std::vector<FedTokens> fed;
  fed.reserve(loglikelihoods.size() + generates.size());
  for (size_t i = 0; i < loglikelihoods.size(); ++i) {
    const LoglikelihoodRequest& request = loglikelihoods[i].request;
    ASSAY_CHECK(!request.context->empty() && !request.continuation.empty());
    fed.push_back(
        {request.context.get(), std::span(request.continuation).first(request.continuation.size() - 1), i, true});
  }
  for (size_t i = 0; i < generates.size(); ++i) {
    ASSAY_CHECK(!generates[i].request.prompt->empty());
    fed.push_back({generates[i].request.prompt.get(), {}, i, false});
  }
  return fed;
}

// The path from the trie's root to the request at hand: which sequence owns the nodes from which depth on.
class OwnersOfPath {
 public:
  // The path is cut to its first `depth` nodes.
  void cut(size_t depth) {
    while (!owners_.empty() && owners_.back().first >= depth) owners_.pop_back();
  }
  void extend(size_t depth, Sequence* sequence) { owners_.emplace_back(depth, sequence); }
  Sequence& at(size_t depth) const {
    const auto above = std::upper_bound(owners_.begin(), owners_.end(), depth,
                                        [](size_t d, const auto& owner) { return d < owner.first; });
    ASSAY_CHECK(above != owners_.begin());
    return *std::prev(above)->second;
  }

 private:
  std::vector<std::pair<size_t, Sequence*>> owners_;
};

std::unique_ptr<Sequence> scoring_sequence(const PendingLoglikelihood& pending, int64_t id) {
  auto sequence = std::make_unique<Sequence>();
  sequence->id = id;
  sequence->request = pending.id;
  sequence->context = pending.request.context;
  sequence->tail.assign(pending.request.continuation.begin(), pending.request.continuation.end() - 1);
  return sequence;
}

// Puts each score of a request where its row is computed.
void want_scores(const PendingLoglikelihood& pending, const OwnersOfPath& owners) {
  const size_t first = pending.request.context->size() - 1;
  for (size_t i = 0; i < pending.request.continuation.size(); ++i) {
    owners.at(first + i).wanted.push_back({static_cast<int32_t>(first + i), pending.request.continuation[i], pending.id,
                                           static_cast<int32_t>(i), pending.request.num_logprobs});
  }
}

void order_wanted(std::vector<std::unique_ptr<Sequence>>& sequences) {
  for (auto& sequence : sequences) {
    std::stable_sort(sequence->wanted.begin(), sequence->wanted.end(),
                     [](const WantedScore& a, const WantedScore& b) { return a.position < b.position; });
  }
}

std::vector<std::unique_ptr<Sequence>> scoring_sequences(const std::vector<PendingLoglikelihood>& pending,
                                                         const std::vector<FedTokens>& sorted, int64_t& next_id) {
  std::vector<std::unique_ptr<Sequence>> sequences;
  OwnersOfPath owners;
  const FedTokens* previous = nullptr;
  for (const FedTokens& fed : sorted) {
    if (!fed.scores) continue;
    const size_t known = previous == nullptr ? 0 : common_prefix(*previous, fed);
    owners.cut(known);
    if (known < fed.size()) {
      sequences.push_back(scoring_sequence(pending[fed.index], next_id++));
      owners.extend(known, sequences.back().get());
    }
    want_scores(pending[fed.index], owners);
    previous = &fed;
  }
  order_wanted(sequences);
  return sequences;
}

std::vector<std::unique_ptr<Sequence>> separate_sequences(const std::vector<PendingLoglikelihood>& pending,
                                                          int64_t& next_id) {
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (const PendingLoglikelihood& request : pending) {
    sequences.push_back(scoring_sequence(request, next_id++));
    OwnersOfPath owner;
    owner.extend(0, sequences.back().get());
    want_scores(request, owner);
  }
  return sequences;
}

void add_samples(const PendingGenerate& pending, int64_t& next_id, std::vector<std::unique_ptr<Sequence>>& sequences) {
  const auto sampling = std::make_shared<const SamplingParams>(pending.request.sampling);
  for (int i = 0; i < sampling->num_samples; ++i) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = next_id++;
    sequence->request = pending.id;
    sequence->context = pending.request.prompt;
    sequence->generates = true;
    sequence->sample_index = i;
    sequence->sampling = sampling;
    sequences.push_back(std::move(sequence));
  }
}

int64_t count_trie_nodes(const std::vector<FedTokens>& sorted) {
  int64_t nodes = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    nodes += static_cast<int64_t>(sorted[i].size() - (i == 0 ? 0 : common_prefix(sorted[i - 1], sorted[i])));
  }
  return nodes;
}

}  // namespace

RequestPlan plan_requests(std::vector<PendingLoglikelihood> loglikelihoods, std::vector<PendingGenerate> generates,
                          bool share_prefixes, int64_t& next_sequence_id) {
  std::vector<FedTokens> sorted = fed_tokens(loglikelihoods, generates);
  std::sort(sorted.begin(), sorted.end(), runs_before);
  RequestPlan plan;
  plan.tokens_minimum = count_trie_nodes(sorted);
  if (!share_prefixes) {
    plan.sequences = separate_sequences(loglikelihoods, next_sequence_id);
    for (const PendingGenerate& pending : generates) add_samples(pending, next_sequence_id, plan.sequences);
    return plan;
  }
  plan.sequences = scoring_sequences(loglikelihoods, sorted, next_sequence_id);
  for (const FedTokens& fed : sorted) {
    if (!fed.scores) add_samples(generates[fed.index], next_sequence_id, plan.sequences);
  }
  return plan;
}

}  // namespace assay
