#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/runtime/token_sampler.h"

namespace assay::testing {

// A model made of hashes, in the shape of a two-layer decoder: a layer's key is a hash of what enters it, attention a
// hash over all keys up to the row's own, in order. One wrong key anywhere changes every later row, as does a generated
// token that is computed as a given one.
struct FakeModel {
  int vocab_size = 40;

  static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t h = a * 0x9E3779B97F4A7C15u ^ (b + 0xD1B54A32D192ED03u);
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
    return h ^ (h >> 31);
  }
  static uint64_t first_key(TokenId token, int32_t position, bool generated) {
    return mix(uint64_t(uint32_t(token)) + 7 + (generated ? 1000003 : 0), uint64_t(position));
  }
  static uint64_t second_key(uint64_t attended, int32_t position) { return mix(attended, uint64_t(position) + 99); }

  // Multiples of 1/4, so that equal logits are common.
  std::vector<float> logits(uint64_t state) const {
    std::vector<float> row(static_cast<size_t>(vocab_size));
    for (size_t i = 0; i < row.size(); ++i) row[i] = float(mix(state, i) % 41) * 0.25f - 5.0f;
    return row;
  }

  // The logits after each token of a sequence, straight from its tokens; those from num_given on are generated.
  std::vector<std::vector<float>> rows(const Tokens& tokens, size_t num_given) const {
    std::vector<std::vector<float>> rows;
    uint64_t first = 0, second = 0;
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto position = static_cast<int32_t>(i);
      first = mix(first, first_key(tokens[i], position, i >= num_given));
      second = mix(second, second_key(first, position));
      rows.push_back(logits(second));
    }
    return rows;
  }

  static LogitResult result(const std::vector<float>& row, const LogitRequest& request) {
    LogitResult result;
    const float highest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (const float logit : row) sum += std::exp(double(logit) - double(highest));
    const double normalizer = double(highest) + std::log(sum);
    const auto logprob = [&](TokenId token) { return float(double(row[size_t(token)]) - normalizer); };
    for (const TokenId token : request.targets) result.target_logprobs.push_back(logprob(token));
    result.argmax = TokenId(std::max_element(row.begin(), row.end()) - row.begin());
    result.argmax_logprob = logprob(result.argmax);
    Tokens ids(row.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::stable_sort(ids.begin(), ids.end(), [&](TokenId a, TokenId b) { return row[size_t(a)] > row[size_t(b)]; });
    for (int i = 0; i < request.num_logprobs; ++i) result.top.push_back({ids[size_t(i)], logprob(ids[size_t(i)])});
    if (request.want_logits) result.logits = row;
    if (request.draw) {
      result.drawn = draw_token(row, *request.draw);
      result.drawn_logprob = logprob(result.drawn);
    }
    return result;
  }
};

struct FakeBackendOptions {
  FakeModel model;
  int32_t num_kv_blocks = 64;
  int32_t max_batch_tokens = 512;
  int32_t max_sequences = 16;
  int32_t rows_that_fit =
      std::numeric_limits<int32_t>::max();  // more: out_of_memory, after spoiling what it would write
  int failing_call = -1;                    // this batch is an internal error
  int full_call = -1;                       // this batch finds no memory, whatever its size
  bool draws_tokens = false;
  bool feeds_tokens = false;
  int max_in_flight = 1;  // more: batches run when they are collected, errors of running come then
};

// FakeModel behind the Backend seam, reading and writing "keys" through block tables, copies and extra writes exactly
// as batch.h says, and checking the rules of a well-formed batch. Keeps every batch it was given.
class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(const FakeBackendOptions& options) : options_(options) {
    info_.name = "fake";
    info_.dtype = "float32";
    info_.num_kv_blocks = options.num_kv_blocks;
    info_.max_batch_tokens = options.max_batch_tokens;
    info_.max_sequences = options.max_sequences;
    info_.max_in_flight = options.max_in_flight;
    info_.draws_tokens = options.draws_tokens;
    info_.feeds_tokens = options.feeds_tokens;
    const auto slots = static_cast<size_t>(options.num_kv_blocks) * kKvBlockTokens;
    for (auto& layer : keys_) {
      layer.resize(slots);
      for (size_t i = 0; i < slots; ++i) layer[i] = FakeModel::mix(i, 0xBAD);
    }
  }

  const BackendInfo& info() const override { return info_; }
  const std::vector<Batch>& batches() const { return batches_; }
  int most_in_flight() const { return most_in_flight_; }

  Result<std::vector<LogitResult>> forward(const Batch& batch) override {
    ASSAY_TRY(submit(batch));
    return collect();
  }

  Status submit(const Batch& batch) override {
    batches_.push_back(batch);
    check(batch);
    if (batch.num_rows() > options_.rows_that_fit || int(batches_.size()) - 1 == options_.full_call) {
      if (submitted_.empty()) spoil(batch);
      return out_of_memory("scratch: no memory");
    }
    if (options_.max_in_flight == 1 && fails(int(batches_.size()) - 1)) return failure();
    submitted_.push_back({&batch, batches_.back(), int(batches_.size()) - 1});
    most_in_flight_ = std::max(most_in_flight_, int(submitted_.size()));
    REQUIRE(int(submitted_.size()) <= options_.max_in_flight);
    return ok_status();
  }

  Result<std::vector<LogitResult>> collect() override {
    REQUIRE_FALSE(submitted_.empty());
    const Submitted next = std::move(submitted_.front());
    submitted_.pop_front();
    REQUIRE(next.batch->tokens == next.copy.tokens);  // it is still there, and as it was
    if (fails(next.call)) return failure();
    return run(fed(next.copy));
  }

 private:
  struct Submitted {
    const Batch* batch = nullptr;
    Batch copy;
    int call = 0;
  };

  bool fails(int call) const { return call == options_.failing_call; }
  static Status failure() { return internal_error("logits of row 0 are not finite"); }

  // With the tokens that the batch before it chose.
  Batch fed(Batch batch) const {
    for (const TokenFeed& feed : batch.feeds) batch.tokens[size_t(feed.row)] = chosen_.at(size_t(feed.request));
    return batch;
  }

  std::vector<LogitResult> run(const Batch& batch) {
    for (const KvCopy& copy : batch.copies) {
      for (auto& layer : keys_) {
        for (int32_t slot = 0; slot < copy.num_tokens; ++slot) layer[at(copy.to, slot)] = layer[at(copy.from, slot)];
      }
    }
    std::vector<uint64_t> states(batch.tokens.size());
    write(batch, 0, [&](size_t row, int32_t position, bool generated) {
      return FakeModel::first_key(batch.tokens[row], position, generated);
    });
    attend(batch, 0, states);
    write(batch, 1, [&](size_t row, int32_t position, bool) { return FakeModel::second_key(states[row], position); });
    attend(batch, 1, states);
    std::vector<LogitResult> results;
    for (const LogitRequest& request : batch.logits) {
      results.push_back(FakeModel::result(options_.model.logits(states[size_t(request.row)]), request));
    }
    chosen_.clear();
    for (size_t i = 0; i < results.size(); ++i)
      chosen_.push_back(batch.logits[i].draw ? results[i].drawn : results[i].argmax);
    return results;
  }

  static size_t at(KvBlockId block, int32_t slot) { return size_t(block) * kKvBlockTokens + size_t(slot); }
  static size_t slot_of(const BatchSegment& segment, int32_t position) {
    return at(segment.block_table[size_t(position / kKvBlockTokens)], position % kKvBlockTokens);
  }

  template <class Visit>  // visit(row, position, segment)
  static void each_row(const Batch& batch, Visit&& visit) {
    for (const BatchSegment& segment : batch.segments) {
      for (int32_t i = 0; i < segment.num_tokens; ++i)
        visit(size_t(segment.first_row + i), segment.first_position + i, segment);
    }
  }

  template <class Key>
  void write(const Batch& batch, size_t layer, Key&& key) {
    std::vector<uint64_t> keys(batch.tokens.size());
    each_row(batch, [&](size_t row, int32_t position, const BatchSegment& segment) {
      keys[row] = key(row, position, segment.generated);
      keys_[layer][slot_of(segment, position)] = keys[row];
    });
    for (const KvExtraWrite& extra : batch.extra_writes)
      keys_[layer][at(extra.block, extra.slot)] = keys[size_t(extra.row)];
  }

  void attend(const Batch& batch, size_t layer, std::vector<uint64_t>& states) {
    each_row(batch, [&](size_t row, int32_t position, const BatchSegment& segment) {
      uint64_t state = 0;
      for (int32_t i = 0; i <= position; ++i) state = FakeModel::mix(state, keys_[layer][slot_of(segment, i)]);
      states[row] = state;
    });
  }

  void spoil(const Batch& batch) {
    for (const KvCopy& copy : batch.copies) keys_[0][at(copy.to, 0)] = 1;
    write(batch, 0, [](size_t, int32_t, bool) { return uint64_t{2}; });
    write(batch, 1, [](size_t, int32_t, bool) { return uint64_t{3}; });
  }

  void check_feeds(const Batch& batch) {
    REQUIRE((batch.feeds.empty() || options_.feeds_tokens));
    int32_t last_row = -1;
    for (const TokenFeed& feed : batch.feeds) {
      REQUIRE(!submitted_.empty());
      REQUIRE(feed.row > last_row);
      REQUIRE(feed.row < batch.num_rows());
      REQUIRE(batch.tokens[size_t(feed.row)] == 0);
      REQUIRE((feed.request >= 0 && feed.request < int32_t(submitted_.back().copy.logits.size())));
      last_row = feed.row;
    }
  }

  void check(const Batch& batch) {
    REQUIRE(batch.num_rows() > 0);
    REQUIRE(batch.num_rows() <= options_.max_batch_tokens);
    check_segments(batch);
    check_feeds(batch);
    check_writes(batch);
    int32_t last_row = -1;
    for (const LogitRequest& request : batch.logits) {
      REQUIRE(request.row > last_row);
      last_row = request.row;
    }
    REQUIRE(last_row < batch.num_rows());
  }

  void check_segments(const Batch& batch) {
    int32_t next_row = 0;
    bool generated = true;
    for (const BatchSegment& segment : batch.segments) {
      REQUIRE((generated || !segment.generated));  // generated ones come first
      generated = segment.generated;
      REQUIRE(segment.first_row == next_row);
      REQUIRE(segment.num_tokens > 0);
      REQUIRE(segment.first_position >= 0);
      next_row += segment.num_tokens;
      const int32_t end = segment.first_position + segment.num_tokens;
      REQUIRE(int32_t(segment.block_table.size()) == (end + kKvBlockTokens - 1) / kKvBlockTokens);
      for (const KvBlockId block : segment.block_table) REQUIRE((block >= 0 && block < options_.num_kv_blocks));
    }
    REQUIRE(next_row == batch.num_rows());
    for (const TokenId token : batch.tokens) REQUIRE((token >= 0 && token < options_.model.vocab_size));
  }

  // No slot is written twice, save that copies may fill a block that later copies read.
  void check_writes(const Batch& batch) {
    std::set<size_t> written;
    const auto write_once = [&](KvBlockId block, int32_t slot) { REQUIRE(written.insert(at(block, slot)).second); };
    each_row(batch, [&](size_t, int32_t position, const BatchSegment& segment) {
      write_once(segment.block_table[size_t(position / kKvBlockTokens)], position % kKvBlockTokens);
    });
    for (const KvExtraWrite& extra : batch.extra_writes) {
      REQUIRE((extra.row >= 0 && extra.row < batch.num_rows()));
      write_once(extra.block, extra.slot);
    }
    for (const KvCopy& copy : batch.copies) {
      REQUIRE(copy.from != copy.to);
      REQUIRE((copy.num_tokens > 0 && copy.num_tokens < kKvBlockTokens));
      for (int32_t slot = 0; slot < copy.num_tokens; ++slot) write_once(copy.to, slot);
    }
  }

  FakeBackendOptions options_;
  BackendInfo info_;
  std::vector<uint64_t> keys_[2];  // by layer: [num_kv_blocks * kKvBlockTokens]
  std::vector<Batch> batches_;
  std::deque<Submitted> submitted_;
  std::vector<TokenId> chosen_;  // of the last batch that ran, one a request
  int most_in_flight_ = 0;
};

}  // namespace assay::testing
