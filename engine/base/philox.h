#pragma once

#include <cstdint>

#include "engine/base/host_device.h"

namespace assay {

// Four words of random bits, a pure function of a counter and a key.
// Based on: Salmon, Moraes, Dror and Shaw. Parallel random numbers: as easy as 1, 2, 3. 2011 (Philox 4x32-10).
struct PhiloxCounter {
  uint32_t words[4];
};

ASSAY_HOST_DEVICE inline PhiloxCounter philox(PhiloxCounter counter, uint64_t key) {
  constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kKeyStep0 = 0x9E3779B9;  // the golden ratio
  constexpr uint32_t kKeyStep1 = 0xBB67AE85;  // sqrt(3) - 1
  constexpr int kNumRounds = 10;
  auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kNumRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter.words[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter.words[2];
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ counter.words[1] ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ counter.words[3] ^ key1, static_cast<uint32_t>(product0)}};
    key0 += kKeyStep0;
    key1 += kKeyStep1;
  }
  return counter;
}

// random_bits of engine/base/rng.h.
ASSAY_HOST_DEVICE inline uint64_t philox_bits(uint64_t seed, uint64_t stream, uint64_t index) {
  const PhiloxCounter out = philox({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32),
                                     static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}},
                                   seed);
  return uint64_t{out.words[1]} << 32 | out.words[0];
}

}  // namespace assay
