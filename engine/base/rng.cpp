#include "engine/base/rng.h"

#include <array>

namespace assay {
namespace {

constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kKeyStep0 = 0x9E3779B9;  // the golden ratio
constexpr uint32_t kKeyStep1 = 0xBB67AE85;  // sqrt(3) - 1
constexpr int kNumRounds = 10;

using Counter = std::array<uint32_t, 4>;

Counter philox_round(const Counter& c, uint32_t key0, uint32_t key1) {
  const uint64_t product0 = uint64_t{kMultiplier0} * c[0];
  const uint64_t product1 = uint64_t{kMultiplier1} * c[2];
  return {static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(product0)};
}

Counter philox(Counter counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < kNumRounds; ++round) {
    counter = philox_round(counter, key0, key1);
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  return counter;
}

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace

uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index) {
  const Counter out = philox({low(index), high(index), low(stream), high(stream)}, low(seed), high(seed));
  return uint64_t{out[1]} << 32 | out[0];
}

}  // namespace assay
