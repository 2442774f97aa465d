#include "engine/model/rope_table.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace assay;
using Kind = RopeConfig::Kind;

namespace {

struct Recorded {
  size_t pair;
  float frequency;
};

// Frequencies recorded from transformers 5.23 (LlamaRotaryEmbedding.inv_freq): equal but for the last bit of a power.
void check_frequencies(const RopeConfig& rope, int64_t head_dim, const std::vector<Recorded>& recorded) {
  const std::vector<float> frequencies = rope_inverse_frequencies(rope, head_dim);
  REQUIRE(frequencies.size() == static_cast<size_t>(head_dim / 2));
  for (const Recorded& expected : recorded) {
    CAPTURE(expected.pair);
    CHECK(std::abs(frequencies[expected.pair] - expected.frequency) <= 1.2e-7f * expected.frequency);
  }
}

RopeConfig llama3(double factor) {
  RopeConfig rope;
  rope.kind = Kind::llama3;
  rope.theta = 500000;
  rope.factor = factor;
  rope.original_max_position = 8192;
  return rope;
}

}  // namespace

TEST_CASE("plain frequencies are powers of theta") {
  RopeConfig rope;
  rope.theta = 100000;
  check_frequencies(
      rope, 64, {{0, 0x1p+0f}, {1, 0x1.654a0cp-1f}, {8, 0x1.ccab84p-5f}, {16, 0x1.9e7c7p-9f}, {31, 0x1.e0d6dap-17f}});
  rope.theta = 1e9;
  check_frequencies(rope, 128, {{1, 0x1.7260b8p-1f}, {32, 0x1.094564p-15f}, {63, 0x1.7bfbccp-30f}});
}

TEST_CASE("linear scaling divides every frequency; dynamic is plain within its context") {
  RopeConfig rope;
  rope.kind = Kind::linear;
  rope.factor = 3;
  check_frequencies(rope, 64, {{0, 0x1.555556p-2f}, {1, 0x1.ffed82p-3f}, {16, 0x1.b4e81ap-9f}, {31, 0x1.74e13p-15f}});
  rope.kind = Kind::dynamic;
  check_frequencies(rope, 64, {{0, 0x1p+0f}, {1, 0x1.7ff222p-1f}, {16, 0x1.47ae14p-7f}, {31, 0x1.17a8e4p-13f}});
}

TEST_CASE("Llama 3 scaling keeps short waves, stretches long ones and mixes those between") {
  check_frequencies(llama3(8), 128,
                    {{0, 0x1p+0f},
                     {1, 0x1.a11582p-1f},
                     {16, 0x1.341190p-5f},
                     {32, 0x1.132ba4p-11f},
                     {35, 0x1.90d10cp-14f},
                     {62, 0x1.948360p-22f},
                     {63, 0x1.4985fep-22f}});
  check_frequencies(
      llama3(32), 64,
      {{1, 0x1.53c38cp-1f}, {8, 0x1.341190p-5f}, {16, 0x1.c26c40p-12f}, {19, 0x1.b15902p-17f}, {31, 0x1.948360p-24f}});
}

TEST_CASE("yarn interpolates along a ramp, with and without rounding its ends") {
  RopeConfig rope;
  rope.kind = Kind::yarn;
  rope.theta = 1e6;
  rope.factor = 4;
  rope.original_max_position = 32768;
  check_frequencies(rope, 128,
                    {{0, 0x1p+0f},
                     {1, 0x1.9c975ap-1f},
                     {16, 0x1.030dc6p-5f},
                     {32, 0x1.3c1d64p-11f},
                     {35, 0x1.02387cp-12f},
                     {62, 0x1.9d5ef2p-22f},
                     {63, 0x1.4d1c98p-22f}});
  rope = {.kind = Kind::yarn,
          .theta = 1e4,
          .factor = 16,
          .original_max_position = 1024,
          .beta_fast = 16,
          .beta_slow = 2,
          .truncate = false};
  check_frequencies(
      rope, 64,
      {{1, 0x1.7ff222p-1f}, {8, 0x1.99999ap-4f}, {16, 0x1.47ae14p-11f}, {19, 0x1.145ceep-12f}, {31, 0x1.17a8e4p-17f}});
}

TEST_CASE("the table holds cosines and sines of position times frequency") {
  const RopeTable table = make_rope_table(llama3(8), 128, 1001);
  REQUIRE(table.half_dim == 64);
  REQUIRE(table.cos.size() == 1001 * 64);
  REQUIRE(table.sin.size() == 1001 * 64);
  CHECK(table.cos[0] == 1.0f);
  CHECK(table.sin[0] == 0.0f);
  CHECK(table.cos[17 * 64 + 1] == doctest::Approx(0.28468164801597595).epsilon(1e-6));
  CHECK(table.cos[1000 * 64 + 1] == doctest::Approx(-0.5859939455986023).epsilon(1e-6));
  CHECK(table.sin[1000 * 64 + 63] == doctest::Approx(0.00030689258710481226).epsilon(1e-6));
}

TEST_CASE("only yarn scales the table by its attention factor") {
  RopeConfig rope{.kind = Kind::yarn, .theta = 1e6, .factor = 4, .original_max_position = 32768};
  rope.attention_factor = 1.138629436111989;
  CHECK(make_rope_table(rope, 128, 1).cos[5] == 1.1386294f);
  rope.kind = Kind::plain;
  CHECK(make_rope_table(rope, 128, 1).cos[5] == 1.0f);
}
