#include "evals/prompt/few_shot.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_set>

#include "engine/base/check.h"

namespace assay {
namespace {

constexpr uint32_t kN = 624, kM = 397;

uint32_t twist(uint32_t high, uint32_t low) {
  const uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
  return (y >> 1) ^ ((y & 1u) ? 0x9908b0dfu : 0u);
}

// From here on CPython copies the whole population instead of remembering what it drew.
int64_t sample_set_size(int64_t k) {
  int64_t size = 21;
  if (k > 5)
    size += static_cast<int64_t>(std::pow(4.0, std::ceil(std::log(static_cast<double>(k) * 3) / std::log(4.0))));
  return size;
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  const uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const uint32_t length = key[1] ? 2 : 1;
  state_[0] = 19650218u;
  for (uint32_t i = 1; i < kN; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  uint32_t i = 1, j = 0;
  auto advance = [&] {
    if (++i < kN) return;
    state_[0] = state_[kN - 1];
    i = 1;
  };
  for (uint32_t k = kN; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + j;
    advance();
    j = (j + 1) % length;
  }
  for (uint32_t k = kN - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - i;
    advance();
  }
  state_[0] = 0x80000000u;
}

void PythonRandom::refill() {
  for (uint32_t i = 0; i < kN; ++i) state_[i] = state_[(i + kM) % kN] ^ twist(state_[i], state_[(i + 1) % kN]);
  index_ = 0;
}

uint32_t PythonRandom::next_u32() {
  if (index_ == static_cast<int>(kN)) refill();
  uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::random_bits(int k) {
  ASSAY_CHECK(k >= 1 && k <= 32);
  return next_u32() >> (32 - k);
}

uint64_t PythonRandom::random_below(uint64_t n) {
  ASSAY_CHECK(n >= 1);
  const int k = std::bit_width(n);
  auto draw = [&]() -> uint64_t {
    if (k <= 32) return random_bits(k);
    const uint64_t low = next_u32();  // CPython fills the low word first
    return low | static_cast<uint64_t>(random_bits(k - 32)) << 32;
  };
  uint64_t value = draw();
  while (value >= n) value = draw();
  return value;
}

double PythonRandom::random_unit() {
  const uint32_t a = next_u32() >> 5, b = next_u32() >> 6;
  return (a * 67108864.0 + b) * (1.0 / 9007199254740992.0);
}

std::vector<int64_t> PythonRandom::sample(int64_t population, int64_t k) {
  ASSAY_CHECK(k >= 0 && k <= population);
  std::vector<int64_t> drawn;
  drawn.reserve(static_cast<size_t>(k));
  if (population <= sample_set_size(k)) {
    std::vector<int64_t> left(static_cast<size_t>(population));
    for (size_t i = 0; i < left.size(); ++i) left[i] = static_cast<int64_t>(i);
    for (int64_t i = 0; i < k; ++i) {
      const size_t j = random_below(static_cast<uint64_t>(population - i));
      drawn.push_back(left[j]);
      left[j] = left[static_cast<size_t>(population - i - 1)];
    }
    return drawn;
  }
  std::unordered_set<int64_t> seen;
  while (static_cast<int64_t>(drawn.size()) < k) {
    const auto j = static_cast<int64_t>(random_below(static_cast<uint64_t>(population)));
    if (seen.insert(j).second) drawn.push_back(j);
  }
  return drawn;
}

FewShotPicker::FewShotPicker(FewShotSampler sampler, const std::vector<Json>& pool, int num_fewshot, bool same_split,
                             uint64_t seed)
    : sampler_(sampler), pool_(&pool), num_fewshot_(num_fewshot), same_split_(same_split), random_(seed) {}

Result<std::vector<int64_t>> FewShotPicker::pick(const Json& document) {
  if (num_fewshot_ <= 0) return std::vector<int64_t>{};
  return sampler_ == FewShotSampler::first_n ? pick_first(document) : pick_random(document);
}

Status FewShotPicker::too_few(int64_t wanted, int64_t there) const {
  return bad_data(
      fmt::format("{} shots were asked for and {} documents are drawn from, but the few-shot split has only {}; lower "
                  "--num-fewshot",
                  num_fewshot_, wanted, there));
}

std::vector<int64_t> FewShotPicker::other_rows(const Json& document) const {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < pool_->size(); ++i) {
    if (!((*pool_)[i] == document)) rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

Result<std::vector<int64_t>> FewShotPicker::pick_first(const Json& document) const {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < pool_->size() && static_cast<int>(rows.size()) < num_fewshot_; ++i) {
    if (!same_split_ || !((*pool_)[i] == document)) rows.push_back(static_cast<int64_t>(i));
  }
  const auto found = static_cast<int64_t>(rows.size());
  if (found < num_fewshot_) return too_few(num_fewshot_, found);
  return rows;
}

Result<std::vector<int64_t>> FewShotPicker::pick_random(const Json& document) {
  const auto size = static_cast<int64_t>(pool_->size());
  const int64_t wanted = num_fewshot_ + (same_split_ ? 1 : 0);
  if (size < wanted) return too_few(wanted, size);
  std::vector<int64_t> drawn = random_.sample(size, wanted);
  if (!same_split_) return drawn;
  std::erase_if(drawn, [&](int64_t row) { return (*pool_)[static_cast<size_t>(row)] == document; });
  if (static_cast<int>(drawn.size()) < num_fewshot_) {
    // The document is in the pool more than once: lm-eval draws again from the pool without its copies.
    const std::vector<int64_t> others = other_rows(document);
    const auto left = static_cast<int64_t>(others.size());
    if (left < num_fewshot_) return too_few(num_fewshot_, left);
    drawn = random_.sample(left, num_fewshot_);
    for (int64_t& row : drawn) row = others[static_cast<size_t>(row)];
  }
  drawn.resize(static_cast<size_t>(num_fewshot_));
  return drawn;
}

}  // namespace assay
