#include "engine/cpu/packed_matrix.h"

#include <doctest/doctest.h>

#include "engine/cpu/kernels.h"
#include "tests/engine/cpu/random_linear.h"

using namespace assay;
using namespace assay::cpu;
using namespace assay::cpu::testing;

namespace {

PackedMatrix pack(const std::vector<const RandomLinear*>& parts, const PackOptions& options = {}) {
  std::vector<const LinearWeight*> linears;
  for (const RandomLinear* part : parts) linears.push_back(&part->linear());
  Team team(2);
  return pack_matrix(linears, options, FilePages(), team).value();
}

// Every column of a packed matrix, in the order of x.
std::vector<std::vector<float>> columns_of(const PackedMatrix& matrix) {
  const Kernels& kernels = kernels_for(InstructionSet::portable, Activations::f32);
  std::vector<std::vector<float>> columns;
  std::vector<float> expanded(static_cast<size_t>(matrix.k_padded * kStripColumns));
  for (int64_t strip = 0; strip < matrix.num_strips; ++strip) {
    std::fill(expanded.begin(), expanded.end(), __builtin_nanf(""));
    kernels.expand_strip(matrix, strip, expanded.data(), kStripColumns);
    for (int64_t c = 0; c < kStripColumns; ++c) {
      std::vector<float> column(static_cast<size_t>(matrix.k));
      for (int64_t k = 0; k < matrix.k_padded; ++k) {
        const float weight = expanded[static_cast<size_t>(k * kStripColumns + c)];
        if (k >= matrix.k) CHECK(weight == 0.0f);
        if (k < matrix.k)
          column[static_cast<size_t>(matrix.column_order.empty() ? k : matrix.column_order[static_cast<size_t>(k)])] =
              weight;
      }
      columns.push_back(column);
    }
  }
  return columns;
}

void check_columns(const PackedMatrix& matrix, const std::vector<const RandomLinear*>& parts) {
  const auto columns = columns_of(matrix);
  size_t column = 0;
  for (const RandomLinear* part : parts) {
    for (int64_t row = 0; row < part->linear().out_features; ++row) CHECK(columns[column++] == part->row(row));
  }
  for (; column < columns.size(); ++column) CHECK(columns[column] == std::vector<float>(static_cast<size_t>(matrix.k)));
}

}  // namespace

TEST_CASE("dense parts are joined column by column, padded with zeros") {
  const RandomLinear a = RandomLinear::dense(40, 72, DType::bf16, 1), b = RandomLinear::dense(17, 72, DType::bf16, 2);
  const PackedMatrix matrix = pack({&a, &b});
  CHECK(matrix.format == PackedMatrix::Format::bf16);
  CHECK(matrix.columns == 57);
  CHECK(matrix.k_padded == 96);
  check_columns(matrix, {&a, &b});
  std::vector<float> row(72);
  for (const int64_t column : {0, 39, 40, 56}) {
    copy_packed_row(matrix, column, row.data());
    CHECK(row == (column < 40 ? a.row(column) : b.row(column - 40)));
  }
}

TEST_CASE("float weights are rounded to bf16, or kept when float32 is asked for") {
  for (const DType dtype : {DType::f16, DType::f32}) {
    const RandomLinear linear = RandomLinear::dense(33, 64, dtype, 3);
    const PackedMatrix exact = pack({&linear}, {.keep_float32 = true});
    CHECK(exact.format == PackedMatrix::Format::f32);
    check_columns(exact, {&linear});
    const auto rounded = columns_of(pack({&linear}));
    for (size_t k = 0; k < 64; ++k) CHECK(rounded[5][k] == bf16_to_float(float_to_bf16(linear.row(5)[k])));
  }
}

TEST_CASE("gate and up alternate by sixteen columns, also where they do not fill the last sixteen") {
  const RandomLinear gate = RandomLinear::dense(40, 32, DType::bf16, 4),
                     up = RandomLinear::dense(40, 32, DType::bf16, 5);
  const auto columns = columns_of(pack({&gate, &up}, {.layout = ColumnLayout::interleaved}));
  REQUIRE(columns.size() == 96);
  for (int64_t row = 0; row < 40; ++row) {
    const auto at = static_cast<size_t>(row / 16 * 32 + row % 16);
    CHECK(columns[at] == gate.row(row));
    CHECK(columns[at + 16] == up.row(row));
  }
  CHECK(columns[64 + 8] == std::vector<float>(32));
}

TEST_CASE("int4 weights are round_bf16((q - z) * s) in every scheme, and stay int4") {
  for (const int64_t group : {32, 64, 0}) {
    for (const bool symmetric : {true, false}) {
      for (const DType scale : {DType::bf16, DType::f16, DType::f32}) {
        CAPTURE(group);
        const RandomLinear linear =
            RandomLinear::int4(50, 192, {.group_size = group, .symmetric = symmetric}, scale, 6);
        const PackedMatrix matrix = pack({&linear});
        CHECK(matrix.format == PackedMatrix::Format::int4);
        check_columns(matrix, {&linear});
      }
    }
  }
}

TEST_CASE("groups named column by column are sorted, and the order is kept for x") {
  const RandomLinear linear = RandomLinear::int4(35, 128, {.group_size = 32, .activation_order = true}, DType::bf16, 7);
  const PackedMatrix matrix = pack({&linear});
  CHECK(matrix.format == PackedMatrix::Format::int4);
  CHECK(matrix.column_order.size() == 128);
  check_columns(matrix, {&linear});
}

TEST_CASE("parts that differ in scheme, order or kind become bf16 together") {
  const RandomLinear dense = RandomLinear::dense(32, 128, DType::bf16, 8);
  const RandomLinear by32 = RandomLinear::int4(32, 128, {.group_size = 32}, DType::bf16, 9);
  const RandomLinear by64 = RandomLinear::int4(32, 128, {.group_size = 64}, DType::bf16, 10);
  const RandomLinear ordered =
      RandomLinear::int4(32, 128, {.group_size = 32, .activation_order = true}, DType::bf16, 11);
  const RandomLinear other = RandomLinear::int4(32, 128, {.group_size = 32, .activation_order = true}, DType::bf16, 12);
  for (const RandomLinear* part : {&dense, &by64, &ordered}) {
    const PackedMatrix matrix = pack({&by32, part});
    CHECK(matrix.format == PackedMatrix::Format::bf16);
    check_columns(matrix, {&by32, part});
  }
  check_columns(pack({&ordered, &other}), {&ordered, &other});
  const RandomLinear eight = RandomLinear::int4(32, 128, {.bits = 8, .group_size = 32}, DType::bf16, 13);
  check_columns(pack({&eight}), {&eight});
}

TEST_CASE("biases follow their columns; parts without one get zeros") {
  RandomLinear a = RandomLinear::dense(40, 32, DType::bf16, 14);
  a.add_bias(15);
  const RandomLinear b = RandomLinear::dense(8, 32, DType::bf16, 16);
  const PackedMatrix matrix = pack({&a, &b});
  REQUIRE(matrix.bias.size() == 64);
  for (size_t i = 0; i < 64; ++i) CHECK(matrix.bias[i] == (i < 40 ? a.bias()[i] : 0.0f));
  CHECK(pack({&b}).bias.empty());
}
