#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "engine/model/tensor_table.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

namespace assay::cpu::testing {

// A linear layer with random weights of its own, stored as a checkpoint would.
class RandomLinear {
 public:
  static RandomLinear dense(int64_t out, int64_t in, DType dtype, uint64_t seed) {
    RandomLinear made(out, in);
    made.linear_.weight = made.view("weight", dtype, {out, in}, floats(out * in, seed, 0.5f));
    return made;
  }

  // 4 or 8 bits; with activation_order groups are dealt to columns at random, group_size columns each.
  static RandomLinear int4(int64_t out, int64_t in, const QuantScheme& scheme, DType scale, uint64_t seed) {
    RandomLinear made(out, in);
    std::mt19937_64 bits(seed);
    const int64_t groups = scheme.num_groups(in);
    const int limit = 1 << (scheme.bits - 1);
    std::vector<int8_t> codes(static_cast<size_t>(out * in)), zeros(static_cast<size_t>(out * groups));
    std::uniform_int_distribution<int> code(-limit, limit - 1);
    for (int8_t& value : codes) value = static_cast<int8_t>(code(bits));
    for (int8_t& value : zeros) value = static_cast<int8_t>(code(bits));
    std::vector<float> scales = floats(out * groups, seed + 1, 0.01f);
    for (float& value : scales) value = std::abs(value) + 1e-3f;

    PackedLinear packed;
    packed.scheme = scheme;
    packed.out_features = out;
    packed.in_features = in;
    packed.packed = made.words("weight_packed", {out, (in * scheme.bits + 31) / 32},
                               pack_codes(codes.data(), out, in, scheme.bits));
    packed.scale = made.view("weight_scale", scale, {out, groups}, scales);
    if (!scheme.symmetric) {
      packed.zero_point = made.words("weight_zero_point", {(out * scheme.bits + 31) / 32, groups},
                                     pack_zero_points(zeros.data(), out, groups, scheme.bits));
    }
    if (scheme.activation_order) {
      std::vector<int32_t> group(static_cast<size_t>(in));
      for (size_t c = 0; c < group.size(); ++c)
        group[c] = static_cast<int32_t>(static_cast<int64_t>(c) / scheme.group_size);
      std::shuffle(group.begin(), group.end(), bits);
      packed.g_idx = made.words("weight_g_idx", {in}, group);
    }
    made.linear_.weight = packed;
    return made;
  }

  void add_bias(uint64_t seed) {
    linear_.bias = view("bias", DType::bf16, {linear_.out_features}, floats(linear_.out_features, seed, 1.0f));
  }

  const LinearWeight& linear() const { return linear_; }
  std::vector<float> weight() const { return assay::testing::reference_weight(linear_); }
  std::vector<float> row(int64_t row) const {
    const auto all = weight();
    return {all.begin() + row * linear_.in_features, all.begin() + (row + 1) * linear_.in_features};
  }
  std::vector<float> bias() const { return to_floats(*linear_.bias).value(); }

 private:
  RandomLinear(int64_t out, int64_t in) {
    linear_.name = "random";
    linear_.out_features = out;
    linear_.in_features = in;
  }

  static std::vector<float> floats(int64_t count, uint64_t seed, float deviation) {
    return assay::testing::random_normals(static_cast<size_t>(count), seed, deviation);
  }

  // The bytes lie one past an even address, as tensors in a file may.
  TensorView keep(std::string name, DType dtype, Shape shape, const void* data, size_t bytes) {
    auto storage = std::make_shared<std::vector<std::byte>>(bytes + 1);
    std::memcpy(storage->data() + 1, data, bytes);
    storage_.push_back(storage);
    return {std::move(name), dtype, std::move(shape), std::span<const std::byte>(storage->data() + 1, bytes)};
  }

  TensorView view(std::string name, DType dtype, Shape shape, const std::vector<float>& values) {
    if (dtype == DType::f32) return keep(std::move(name), dtype, std::move(shape), values.data(), values.size() * 4);
    std::vector<uint16_t> bits(values.size());
    std::transform(values.begin(), values.end(), bits.begin(), dtype == DType::bf16 ? float_to_bf16 : float_to_f16);
    return keep(std::move(name), dtype, std::move(shape), bits.data(), bits.size() * 2);
  }

  TensorView words(std::string name, Shape shape, const std::vector<int32_t>& values) {
    return keep(std::move(name), DType::i32, std::move(shape), values.data(), values.size() * 4);
  }

  LinearWeight linear_;
  std::vector<std::shared_ptr<std::vector<std::byte>>> storage_;
};

}  // namespace assay::cpu::testing
