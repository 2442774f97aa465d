// Row operations of every instruction set this machine runs, against plain loops in double.

#include "engine/cpu/kernels.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/engine/cpu/instruction_sets.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cpu;
using namespace assay::cpu::testing;
using namespace assay::testing;

namespace {

std::vector<float> padded(std::vector<float> values) {
  values.resize(static_cast<size_t>(padded_width(static_cast<int64_t>(values.size()))));
  return values;
}

std::vector<double> widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

std::string name_of(InstructionSet isa, Activations activations) {
  return std::string(instruction_set_name(isa)) + (activations == Activations::f32 ? " float32" : " bfloat16");
}

// Logits and what is known of them.
void check_stats(const Kernels& kernels, const std::vector<float>& logits) {
  const auto want = reference_logprobs(widened(logits));
  const LogitStats stats = kernels.logit_stats(logits.data(), static_cast<int64_t>(logits.size()));
  const auto largest = std::max_element(logits.begin(), logits.end());
  CHECK(stats.finite);
  CHECK(stats.max == *largest);
  CHECK(stats.argmax == largest - logits.begin());
  CHECK(std::abs(static_cast<double>(logits[0]) - stats.log_sum - want[0]) < 2e-6);
}

}  // namespace

TEST_CASE("rms_norm is x over its root mean square times the weight, padding zero, for any width") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    for (const int64_t width : {16, 33, 64, 100, 576, 1000}) {
      const auto x = padded(random_normals(static_cast<size_t>(width), 1, 3.0f));
      const auto weight = padded(random_normals(static_cast<size_t>(width), 2));
      Elements out(activations, x.size());
      kernels_for(isa, activations).rms_norm(x.data(), weight.data(), width, 1e-5f, out.data());
      auto want = reference_rms_norm(widened({x.begin(), x.begin() + width}), weight, 1e-5);
      want.resize(x.size());
      CHECK(distance(out.floats(), want).relative < rounding_of(activations));
      for (size_t i = static_cast<size_t>(width); i < x.size(); ++i) CHECK(out.get(i) == 0.0f);
    }
  }
}

TEST_CASE("rotate turns pairs half a head apart, for head widths that do and do not fill vectors") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    for (const int64_t head_dim : {16, 48, 64, 80, 128, 256}) {
      const auto half = static_cast<size_t>(head_dim) / 2;
      std::vector<float> cos(half), sin(half);
      for (size_t j = 0; j < half; ++j) {
        cos[j] = std::cos(static_cast<float>(j) + 0.3f);
        sin[j] = std::sin(static_cast<float>(j) + 0.3f);
      }
      Elements heads(activations, random_normals(3 * static_cast<size_t>(head_dim), 3));
      auto want = heads.doubles();
      kernels_for(isa, activations).rotate(heads.data(), 3, head_dim, cos.data(), sin.data());
      reference_rotate(want, head_dim, cos, sin);
      CHECK(distance(heads.floats(), want).relative < rounding_of(activations));
    }
  }
}

TEST_CASE("epilogues store, add to the stream, gate and keep floats, with a bias and without") {
  constexpr int64_t kRows = 5, kStrips = 3, kWidth = kStrips * kStripColumns;
  const auto sums = random_normals(kRows * kStripColumns, 4, 2.0f), bias = random_normals(kWidth, 5);
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    const Kernels& kernels = kernels_for(isa, activations);
    for (const bool with_bias : {false, true}) {
      constexpr int64_t strip = 1;
      const auto sum = [&](int64_t row, int64_t column) {
        const float added = with_bias ? bias[static_cast<size_t>(strip * kStripColumns + column)] : 0.0f;
        return static_cast<double>(sums[static_cast<size_t>(row * kStripColumns + column)]) +
               static_cast<double>(added);
      };
      Elements stored(activations, kRows * kWidth), gated(activations, kRows * kWidth);
      std::vector<float> stream(kRows * kWidth, 1.5f), kept = nans(kRows * kWidth);
      Epilogue epilogue{
          .kind = Epilogue::Kind::store, .out = stored.data(), .ld = kWidth, .bias = with_bias ? bias.data() : nullptr};
      kernels.finish(epilogue, 0, kRows, strip, sums.data(), kStripColumns);
      epilogue.kind = Epilogue::Kind::swiglu, epilogue.out = gated.data();
      kernels.finish(epilogue, 0, kRows, strip, sums.data(), kStripColumns);
      epilogue.kind = Epilogue::Kind::add, epilogue.out = stream.data();
      kernels.finish(epilogue, 0, kRows, strip, sums.data(), kStripColumns);
      epilogue.kind = Epilogue::Kind::float32, epilogue.out = kept.data();
      kernels.finish(epilogue, 0, kRows, strip, sums.data(), kStripColumns);

      std::vector<double> got[4], want[4];
      for (int64_t row = 0; row < kRows; ++row) {
        for (int64_t c = 0; c < kStripColumns; ++c) {
          const auto at = static_cast<size_t>(row * kWidth + strip * kStripColumns + c);
          got[0].push_back(static_cast<double>(stored.get(at)));
          want[0].push_back(sum(row, c));
          got[1].push_back(static_cast<double>(stream[at]));
          want[1].push_back(1.5 + sum(row, c));
          got[2].push_back(static_cast<double>(kept[at]));
          want[2].push_back(sum(row, c));
          if (c >= kStripColumns / 2) continue;
          got[3].push_back(
              static_cast<double>(gated.get(static_cast<size_t>(row * kWidth + strip * kStripColumns / 2 + c))));
          want[3].push_back(reference_silu(sum(row, c)) * sum(row, c + kStripColumns / 2));
        }
      }
      CHECK(distance(got[0], want[0]).relative < rounding_of(activations));
      CHECK(distance(got[1], want[1]).relative < 1e-6);
      CHECK(distance(got[2], want[2]).relative < 1e-6);
      CHECK(distance(got[3], want[3]).relative < rounding_of(activations));
      CHECK(std::isnan(kept[0]));  // another strip's place is left alone
    }
  }
}

TEST_CASE("silu keeps its sign and its limits far out") {
  std::vector<float> sums(kStripColumns, 1.0f);
  const float gates[] = {-1e4f, -200.0f, -90.0f, -20.0f, 0.0f, 20.0f, 200.0f, 1e4f};
  std::copy(std::begin(gates), std::end(gates), sums.begin());
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    Elements out(activations, kStripColumns);
    kernels_for(isa, activations)
        .finish({.kind = Epilogue::Kind::swiglu, .out = out.data(), .ld = kStripColumns}, 0, 1, 0, sums.data(),
                kStripColumns);
    for (size_t i = 0; i < std::size(gates); ++i) {
      const double want = reference_silu(static_cast<double>(gates[i]));
      CHECK(std::abs(static_cast<double>(out.get(i)) - want) <= 4e-3 * std::abs(want) + 1e-30);
    }
  }
}

TEST_CASE("logit_stats finds the largest logit, its lowest id and the log of the sum, for vocabularies of any size") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    const Kernels& kernels = kernels_for(isa, activations);
    for (const size_t size : {1, 7, 16, 300, 4095, 4096, 4097, 49152, 151936}) {
      CAPTURE(size);
      auto logits = random_normals(size, size, 4.0f);
      check_stats(kernels, logits);
      for (const size_t at : {size - 1, size / 2, size / 3}) logits[at] = 40.0f;  // ties: the lowest id wins
      check_stats(kernels, logits);
      for (float& logit : logits) logit -= 3000.0f;
      CHECK(kernels.logit_stats(logits.data(), static_cast<int64_t>(size)).finite);
    }
  }
}

TEST_CASE("logit_stats calls a row with one NaN or infinity anywhere not finite") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    CAPTURE(name_of(isa, activations));
    const Kernels& kernels = kernels_for(isa, activations);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      for (const size_t at : {0, 15, 16, 4999, 5002}) {
        auto logits = random_normals(5003, 8);
        logits[at] = bad;
        CHECK_FALSE(kernels.logit_stats(logits.data(), 5003).finite);
      }
    }
  }
}
