#include "engine/base/rng.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

namespace assay {
namespace {

// The first two words of the paper's known answers (Random123, kat_vectors, philox4x32 with 10 rounds): the counter is
// (index, stream), the key is the seed, low word first.
TEST_CASE("random bits are the published Philox 4x32-10 answers") {
  CHECK(random_bits(0, 0, 0) == 0xe169c58d6627e8d5);
  CHECK(random_bits(~0ull, ~0ull, ~0ull) == 0x41c83b0e408f276d);
  CHECK(random_bits(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88) == 0x94fdccebd16cfe09);
}

TEST_CASE("each of seed, stream and index changes the bits, and nothing else does") {
  std::set<uint64_t> seen;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    for (uint64_t stream = 0; stream < 10; ++stream) {
      for (uint64_t index = 0; index < 10; ++index) seen.insert(random_bits(seed, stream, index));
    }
  }
  CHECK(seen.size() == 1000);
  CHECK(random_bits(3, 4, 5) == random_bits(3, 4, 5));
}

TEST_CASE("the high halves of seed, stream and index count") {
  const uint64_t high = uint64_t{1} << 32;
  CHECK(random_bits(high, 0, 0) != random_bits(0, 0, 0));
  CHECK(random_bits(0, high, 0) != random_bits(0, 0, 0));
  CHECK(random_bits(0, 0, high) != random_bits(0, 0, 0));
}

TEST_CASE("unit draws lie in [0, 1) with the mean and spread of a uniform distribution") {
  const int n = 100'000;
  double sum = 0;
  double sum_of_squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = random_unit(42, 7, static_cast<uint64_t>(i));
    REQUIRE(u >= 0.0);
    REQUIRE(u < 1.0);
    sum += u;
    sum_of_squares += u * u;
  }
  const double mean = sum / n;
  CHECK(std::abs(mean - 0.5) < 0.005);
  CHECK(std::abs(sum_of_squares / n - mean * mean - 1.0 / 12) < 0.002);
}

}  // namespace
}  // namespace assay
