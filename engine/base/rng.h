#pragma once

#include <cstdint>

namespace assay {

// Counter-based random bits: a pure function of (seed, stream, index), so that the order of work never shows in a draw.
// A request's seed and the position of its token give that token's draw in any batch.
// Philox 4x32-10 (philox.h).
uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t index);

// The same, as a double in [0, 1) with 53 random bits.
inline double random_unit(uint64_t seed, uint64_t stream, uint64_t index) {
  return static_cast<double>(random_bits(seed, stream, index) >> 11) * 0x1.0p-53;
}

}  // namespace assay
