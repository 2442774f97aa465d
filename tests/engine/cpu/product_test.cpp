// Products of both kinds against plain loops in double, and the equality of their rows in any company.

#include "engine/cpu/product.h"

#include <doctest/doctest.h>

#include <cstring>

#include "tests/engine/cpu/instruction_sets.h"
#include "tests/engine/cpu/random_linear.h"

using namespace assay;
using namespace assay::cpu;
using namespace assay::cpu::testing;
using namespace assay::testing;

namespace {

struct Case {
  const char* name;
  RandomLinear linear;
};

std::vector<Case> cases() {
  return {
      {"bf16", RandomLinear::dense(100, 160, DType::bf16, 1)},
      {"bf16 of odd depth", RandomLinear::dense(33, 75, DType::bf16, 2)},
      {"int4 by 32", RandomLinear::int4(100, 160, {.group_size = 32}, DType::bf16, 3)},
      {"int4 by 64 asymmetric", RandomLinear::int4(70, 192, {.group_size = 64, .symmetric = false}, DType::bf16, 4)},
      {"int4 by row, float scales", RandomLinear::int4(32, 200, {.group_size = 0}, DType::f32, 5)},
      {"int4 in activation order",
       RandomLinear::int4(64, 128, {.group_size = 32, .activation_order = true}, DType::bf16, 6)}};
}

// A product and what it runs on.
class Bench {
 public:
  Bench(const RandomLinear& linear, InstructionSet isa, Activations activations, int num_threads)
      : activations_(activations), team_(num_threads) {
    auto matrix =
        pack_matrix({&linear.linear()}, {.keep_float32 = activations == Activations::f32}, FilePages(), team_).value();
    product_ = activations == Activations::bf16
                   ? make_bf16_product(std::move(matrix))
                   : make_float_product(std::move(matrix), kernels_for(isa, activations)).value();
    REQUIRE(team_.reserve_scratch(product_->scratch_bytes()).ok());
  }

  // x [rows, k] in the order of the linear -> sums [rows, padded columns].
  std::vector<float> multiply(const std::vector<float>& x, int64_t rows) {
    const PackedMatrix& matrix = product_->matrix();
    const auto ld = static_cast<size_t>(matrix.k_padded),
               out_ld = static_cast<size_t>(matrix.num_strips * kStripColumns);
    Elements in(activations_, (static_cast<size_t>(rows) + kRowSlack) * ld);
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
      for (size_t k = 0; k < ld; ++k) {
        const bool inside = k < static_cast<size_t>(matrix.k);
        const size_t from = matrix.column_order.empty() || !inside ? k : static_cast<size_t>(matrix.column_order[k]);
        in.set(row * ld + k, inside ? x[row * static_cast<size_t>(matrix.k) + from] : 0.0f);
      }
    }
    std::vector<float> out = nans(static_cast<size_t>(rows) * out_ld);
    const Epilogue epilogue{.kind = Epilogue::Kind::float32, .out = out.data(), .ld = static_cast<int64_t>(out_ld)};
    const Status status =
        team_.run([&](Worker& worker) { product_->run(worker, in.data(), static_cast<int64_t>(ld), rows, epilogue); });
    REQUIRE_MESSAGE(status.ok(), status.message());
    return out;
  }

 private:
  Activations activations_;
  Team team_;
  std::unique_ptr<Product> product_;
};

std::vector<float> bf16_normals(size_t count, uint64_t seed) {
  auto values = random_normals(count, seed);
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

}  // namespace

TEST_CASE("products equal plain loops for any number of rows") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    for (const Case& test : cases()) {
      CAPTURE(instruction_set_name(isa));
      CAPTURE(test.name);
      const auto k = static_cast<size_t>(test.linear.linear().in_features),
                 n = static_cast<size_t>(test.linear.linear().out_features);
      const auto weight = test.linear.weight();
      Bench bench(test.linear, isa, activations, 2);
      for (const int64_t rows : {1, 3, 5, 13, 200}) {
        const auto x = bf16_normals(static_cast<size_t>(rows) * k, 20);
        const auto got = bench.multiply(x, rows);
        const size_t ld = got.size() / static_cast<size_t>(rows);
        for (const size_t row : {size_t{0}, static_cast<size_t>(rows) - 1}) {
          const std::vector<double> one(x.begin() + static_cast<long>(row * k),
                                        x.begin() + static_cast<long>((row + 1) * k));
          const std::vector<float> sums(got.begin() + static_cast<long>(row * ld),
                                        got.begin() + static_cast<long>(row * ld + n));
          CHECK(distance(sums, reference_product(one, weight, static_cast<int64_t>(n))).relative < 1e-6);
          for (size_t c = n; c < ld; ++c) CHECK(got[row * ld + c] == 0.0f);
        }
      }
    }
  }
}

TEST_CASE("a row's sums have the same bits for any number of rows, in any place, with any number of threads") {
  for (const auto& [isa, activations] : runnable_kernels()) {
    for (const Case& test : cases()) {
      CAPTURE(instruction_set_name(isa));
      CAPTURE(test.name);
      constexpr int64_t kRows = 300;
      const auto k = static_cast<size_t>(test.linear.linear().in_features);
      const auto x = bf16_normals(kRows * k, 21);
      Bench bench(test.linear, isa, activations, 2), single(test.linear, isa, activations, 1);
      const auto whole = bench.multiply(x, kRows);
      const size_t ld = whole.size() / kRows;
      for (const int64_t rows : {1, 2, 3, 4, 5, 8, 11, 12, 13, 31, 64, 127, 129, 299}) {
        CAPTURE(rows);
        const int64_t first = kRows - rows;
        const std::vector<float> part(x.begin() + first * static_cast<long>(k), x.end());
        CHECK(std::memcmp(bench.multiply(part, rows).data(), whole.data() + static_cast<size_t>(first) * ld,
                          static_cast<size_t>(rows) * ld * 4) == 0);
      }
      CHECK(std::memcmp(single.multiply(x, kRows).data(), whole.data(), whole.size() * 4) == 0);
    }
  }
}
