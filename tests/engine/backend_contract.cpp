#include "tests/engine/backend_contract.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

#include "engine/base/rng.h"

namespace assay::testing {
namespace {

constexpr int32_t kBlock = kKvBlockTokens;

// Tokens and the blocks they live in.
struct Sequence {
  Tokens tokens;
  std::vector<KvBlockId> blocks;
  int32_t length() const { return static_cast<int32_t>(tokens.size()); }
};

class Contract {
 public:
  Contract(Backend& backend, int64_t vocab_size, uint64_t seed)
      : backend_(backend), vocab_size_(vocab_size), seed_(seed) {
    REQUIRE(backend.info().num_kv_blocks >= 64);
    REQUIRE(backend.info().max_batch_tokens >= 256);
  }

  void run() {
    alone_is_repeatable();
    splits();
    token_by_token();
    neighbors();
    shared_blocks();
    copied_block();
    extra_writes();
    block_numbers();
    few_requests();
    generated_tokens();
  }

 private:
  Sequence make_sequence(int32_t length, KvBlockId first_block) {
    Sequence sequence;
    for (int32_t i = 0; i < length; ++i) {
      const uint64_t bits = random_bits(seed_, static_cast<uint64_t>(length), static_cast<uint64_t>(i));
      sequence.tokens.push_back(static_cast<TokenId>(bits % static_cast<uint64_t>(vocab_size_)));
    }
    sequence.blocks.resize(static_cast<size_t>((length + kBlock - 1) / kBlock));
    std::iota(sequence.blocks.begin(), sequence.blocks.end(), first_block);
    return sequence;
  }

  // Appends tokens [begin, end) of a sequence to a batch, every row's logits wanted.
  static void append(Batch& batch, const Sequence& sequence, int32_t begin, int32_t end, bool generated = false) {
    BatchSegment segment;
    segment.generated = generated;
    segment.first_row = batch.num_rows();
    segment.num_tokens = end - begin;
    segment.first_position = begin;
    segment.block_table = sequence.blocks;
    for (int32_t position = begin; position < end; ++position) {
      LogitRequest request;
      request.row = batch.num_rows();
      request.targets = {sequence.tokens[static_cast<size_t>(position)], 0};
      request.num_logprobs = 3;
      request.want_logits = true;
      batch.logits.push_back(request);
      batch.tokens.push_back(sequence.tokens[static_cast<size_t>(position)]);
    }
    batch.segments.push_back(segment);
  }

  std::vector<LogitResult> forward(const Batch& batch) {
    auto results = backend_.forward(batch);
    REQUIRE_MESSAGE(results.ok(), results.status().message());
    REQUIRE(results->size() == batch.logits.size());
    return std::move(*results);
  }

  std::vector<LogitResult> whole(const Sequence& sequence) {
    Batch batch;
    append(batch, sequence, 0, sequence.length());
    return forward(batch);
  }

  static bool same_bits(const LogitResult& a, const LogitResult& b) {
    const auto equal = [](const std::vector<float>& x, const std::vector<float>& y) {
      return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
    };
    const bool top =
        std::equal(a.top.begin(), a.top.end(), b.top.begin(), b.top.end(),
                   [](const auto& x, const auto& y) { return x.token == y.token && x.logprob == y.logprob; });
    return equal(a.logits, b.logits) && equal(a.target_logprobs, b.target_logprobs) && top && a.argmax == b.argmax &&
           a.argmax_logprob == b.argmax_logprob;
  }

  // Rows of `got` from `first` against rows [begin, end) of `want`.
  static void expect_rows(const std::vector<LogitResult>& got, size_t first, const std::vector<LogitResult>& want,
                          int32_t begin, int32_t end, const char* how) {
    for (int32_t row = begin; row < end; ++row) {
      const bool same = same_bits(got[first + static_cast<size_t>(row - begin)], want[static_cast<size_t>(row)]);
      if (same) continue;
      FAIL_CHECK(how << ": position " << row << " of " << want.size() << " differs from the sequence run alone");
      return;
    }
    CHECK(begin <= end);
  }

  void alone_is_repeatable() {
    const Sequence sequence = make_sequence(70, 0);
    const auto first = whole(sequence);
    expect_rows(whole(sequence), 0, first, 0, 70, "run again");
  }

  void splits() {
    const Sequence sequence = make_sequence(41, 0);
    const auto want = whole(sequence);
    for (int32_t split = 1; split < sequence.length(); ++split) {
      for (const auto& [begin, end] : {std::pair{0, split}, std::pair{split, sequence.length()}}) {
        Batch batch;
        append(batch, sequence, begin, end);
        expect_rows(forward(batch), 0, want, begin, end, "split in two batches");
      }
      Batch both;  // two segments of one sequence in one batch
      append(both, sequence, 0, split);
      append(both, sequence, split, sequence.length());
      expect_rows(forward(both), 0, want, 0, sequence.length(), "split in two segments");
    }
  }

  void token_by_token() {
    const Sequence sequence = make_sequence(85, 0);
    const auto want = whole(sequence);
    for (int32_t position = 0; position < sequence.length(); ++position) {
      Batch batch;
      append(batch, sequence, position, position + 1);
      expect_rows(forward(batch), 0, want, position, position + 1, "token by token");
    }
  }

  // The last token of one sequence decoded beside 0 to 40 others, in first place and in last.
  void neighbors() {
    const Sequence sequence = make_sequence(66, 0);
    const auto want = whole(sequence);
    for (int32_t count : {1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 24, 25, 40}) {
      for (const bool in_front : {true, false}) {
        Batch batch;
        if (in_front) append(batch, sequence, 65, 66);
        for (int32_t i = 0; i < count; ++i) append(batch, make_sequence(1 + i % 5, 10 + i), 0, 1 + i % 5);
        if (!in_front) append(batch, sequence, 65, 66);
        const auto results = forward(batch);
        expect_rows(results, in_front ? 0 : results.size() - 1, want, 65, 66, "decoded beside others");
      }
    }
    const Sequence longer = make_sequence(150, 20), shorter = make_sequence(17, 40);
    const auto want_longer = whole(longer), want_shorter = whole(shorter);
    Batch batch;
    append(batch, shorter, 0, 17);
    append(batch, sequence, 0, 66);
    append(batch, longer, 0, 150);
    const auto results = forward(batch);
    expect_rows(results, 0, want_shorter, 0, 17, "three prompts in one batch");
    expect_rows(results, 17, want, 0, 66, "three prompts in one batch");
    expect_rows(results, 83, want_longer, 0, 150, "three prompts in one batch");
  }

  // A second sequence whose first block is the first one's, computed in the same batch.
  void shared_blocks() {
    const Sequence first = make_sequence(40, 0);
    Sequence second = make_sequence(37, 10);
    std::copy_n(first.tokens.begin(), kBlock, second.tokens.begin());
    const auto want = whole(second);
    second.blocks[0] = first.blocks[0];
    Batch batch;
    append(batch, first, 0, 40);
    append(batch, second, kBlock, 37);
    expect_rows(forward(batch), 40, want, kBlock, 37, "a block shared within a batch");
  }

  // A branch in mid-block: five slots come from a copy.
  void copied_block() {
    const Sequence first = make_sequence(40, 0);
    for (const int32_t copied : {1, 5, 8, 15, 16}) {
      Sequence second = make_sequence(39, 10);
      std::copy_n(first.tokens.begin(), kBlock + copied, second.tokens.begin());
      const auto want = whole(second);
      whole(first);
      whole(make_sequence(32, 11));  // what lay in the destination before must not matter
      second.blocks = {first.blocks[0], 11, 12};
      Batch batch;
      batch.copies.push_back({first.blocks[1], 11, copied});
      append(batch, second, kBlock + copied, 39);
      expect_rows(forward(batch), 0, want, kBlock + copied, 39, "a branch from a copied block");
    }
  }

  // The same branch, its prefix computed in the same batch: the first sequence's rows are written twice.
  void extra_writes() {
    const Sequence first = make_sequence(40, 0);
    for (const int32_t written : {1, 6, 15}) {
      Sequence second = make_sequence(38, 10);
      std::copy_n(first.tokens.begin(), kBlock + written, second.tokens.begin());
      const auto want = whole(second);
      whole(make_sequence(32, 11));
      second.blocks = {first.blocks[0], 11, 12};
      Batch batch;
      append(batch, first, 0, 40);
      append(batch, second, kBlock + written, 38);
      for (int32_t slot = 0; slot < written; ++slot) batch.extra_writes.push_back({kBlock + slot, 11, slot});
      expect_rows(forward(batch), 40, want, kBlock + written, 38, "a branch from extra writes");
    }
    // Half from a copy, half from this batch.
    Sequence second = make_sequence(36, 10);
    std::copy_n(first.tokens.begin(), kBlock + 9, second.tokens.begin());
    const auto want = whole(second);
    Batch prefix;
    append(prefix, first, 0, kBlock + 4);
    forward(prefix);
    second.blocks = {first.blocks[0], 11, 12};
    Batch batch;
    batch.copies.push_back({first.blocks[1], 11, 4});
    append(batch, first, kBlock + 4, 40);
    append(batch, second, kBlock + 9, 36);
    for (int32_t slot = 4; slot < 9; ++slot) batch.extra_writes.push_back({slot - 4, 11, slot});
    expect_rows(forward(batch), 40 - kBlock - 4, want, kBlock + 9, 36, "a branch from a copy and extra writes");
  }

  void block_numbers() {
    Sequence sequence = make_sequence(90, 0);
    const auto want = whole(sequence);
    const int32_t num_blocks = backend_.info().num_kv_blocks;
    for (size_t i = 0; i < sequence.blocks.size(); ++i) {
      sequence.blocks[i] =
          static_cast<KvBlockId>(random_bits(seed_, 77, i) % static_cast<uint64_t>(num_blocks / 8)) * 8 +
          static_cast<KvBlockId>(i % 8);
    }
    expect_rows(whole(sequence), 0, want, 0, 90, "blocks in any order");
  }

  // Asking for less must not change what is asked for.
  void few_requests() {
    const Sequence sequence = make_sequence(52, 0);
    const auto want = whole(sequence);
    Batch batch;
    append(batch, sequence, 0, 52);
    std::erase_if(batch.logits, [](const LogitRequest& request) { return request.row % 7 != 3; });
    const auto results = forward(batch);
    for (size_t i = 0; i < results.size(); ++i) {
      const int32_t row = batch.logits[i].row;
      expect_rows(results, i, want, row, row + 1, "few rows wanted");
    }
    Batch none;
    append(none, sequence, 0, 51);
    none.logits.clear();
    CHECK(forward(none).empty());
    Batch last;
    append(last, sequence, 51, 52);
    expect_rows(forward(last), 0, want, 51, 52, "after a batch that wanted nothing");
  }

  // 30 given tokens, then 40 of the model's own: one at a time, all at once, beside others' tokens of both kinds.
  void generated_tokens() {
    constexpr int32_t kGiven = 30;
    const Sequence sequence = make_sequence(70, 0);
    Batch given;
    append(given, sequence, 0, kGiven);
    const auto compute_given = [&] {
      const auto all = whole(sequence);
      expect_rows(forward(given), 0, all, 0, kGiven, "given tokens");
    };
    compute_given();
    Batch rest;
    append(rest, sequence, kGiven, 70, true);
    const auto want = forward(rest);
    const auto expect = [&](const std::vector<LogitResult>& got, size_t first, int32_t begin, int32_t end,
                            const char* how) { expect_rows(got, first, want, begin - kGiven, end - kGiven, how); };
    compute_given();
    for (int32_t position = kGiven; position < 70; ++position) {
      Batch one;
      append(one, sequence, position, position + 1, true);
      expect(forward(one), 0, position, position + 1, "generated token by token");
    }
    for (const int32_t count : {1, 3, 8, 15, 33}) {
      Batch among;  // other generated tokens before and after it, then given ones
      for (int32_t i = 0; i < count; ++i) append(among, make_sequence(1 + i % 2, 20 + i), 0, 1 + i % 2, true);
      const auto first = static_cast<size_t>(among.num_rows());
      append(among, sequence, 60, 70, true);
      append(among, make_sequence(3, 54), 0, 3, true);
      append(among, make_sequence(40, 56), 0, 40);
      expect(forward(among), first, 60, 70, "generated beside others");
    }
    Batch mixed;
    append(mixed, make_sequence(5, 20), 0, 5, true);
    append(mixed, sequence, 0, 70);
    expect_rows(forward(mixed), 5, whole(sequence), 0, 70, "given tokens after generated ones");
  }

  Backend& backend_;
  int64_t vocab_size_;
  uint64_t seed_;
};

}  // namespace

void check_backend_contract(Backend& backend, int64_t vocab_size, uint64_t seed) {
  Contract(backend, vocab_size, seed).run();
}

}  // namespace assay::testing
