#include "engine/quantize/rtn.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/rng.h"
#include "engine/formats/safetensors.h"
#include "tests/engine/formats/format_files.h"
#include "tests/support/shared_folder.h"

using namespace assay;

namespace {

std::vector<float> random_bf16(size_t count, uint64_t seed) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) {
    values.push_back(bf16_to_float(float_to_bf16(static_cast<float>(random_unit(seed, 0, i) - 0.5))));
  }
  return values;
}

QuantScheme group(int64_t size, bool symmetric = true, int bits = 4) {
  return {.bits = bits, .group_size = size, .symmetric = symmetric};
}

}  // namespace

TEST_CASE("symmetric scales are the largest magnitude over 7.5, rounded to bf16, one a group") {
  const std::vector<float> weight = {7.5f, -3.0f, 0.0f, 1.0f, -15.0f, 2.0f, 0.0f, 0.0f};
  const GroupParameters parameters = group_parameters(weight, 1, 8, group(4));
  CHECK(parameters.scales == std::vector<float>{1.0f, 2.0f});
  CHECK(parameters.zero_points.empty());
  const GroupParameters channel = group_parameters(weight, 2, 4, group(0));
  CHECK(channel.scales == std::vector<float>{1.0f, 2.0f});
}

TEST_CASE("codes are clamped, then rounded half to even") {
  // Scale 1: 7.5 lies beyond the largest code, -7.5 rounds to the even -8, and halves go to even.
  const std::vector<float> weight = {7.5f, -7.5f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 6.5f};
  const UnpackedLinear linear = quantize_rtn(weight, 1, 8, group(8));
  CHECK(linear.scales == std::vector<float>{1.0f});
  CHECK(linear.codes == std::vector<int8_t>{7, -8, 0, 2, 2, 0, -2, 6});
  CHECK(linear.group_of_column == std::vector<int32_t>(8, 0));
}

TEST_CASE("asymmetric ranges are widened to hold zero, and the zero point is rounded and clamped") {
  const std::vector<float> positive = {3.0f, 15.0f};  // range 0..15, scale 1, zero point -8
  const UnpackedLinear up = quantize_rtn(positive, 1, 2, group(2, false));
  CHECK(up.scales == std::vector<float>{1.0f});
  CHECK(up.zero_points == std::vector<int8_t>{-8});
  CHECK(up.codes == std::vector<int8_t>{-5, 7});
  const std::vector<float> negative = {-15.0f, -1.0f};  // range -15..0: zero point 7
  const UnpackedLinear down = quantize_rtn(negative, 1, 2, group(2, false));
  CHECK(down.zero_points == std::vector<int8_t>{7});
  CHECK(down.codes == std::vector<int8_t>{-8, 6});
}

TEST_CASE("a group of zeros gets bf16's epsilon as scale, zero codes and zero point 0") {
  const std::vector<float> weight(8, 0.0f);
  for (const bool symmetric : {true, false}) {
    const UnpackedLinear linear = quantize_rtn(weight, 2, 4, group(4, symmetric));
    CHECK(linear.scales == std::vector<float>(2, 0x1p-7f));
    CHECK(linear.codes == std::vector<int8_t>(8, 0));
    CHECK(linear.zero_points == std::vector<int8_t>(symmetric ? 0 : 2, 0));
  }
}

TEST_CASE("eight bits use the range -128 to 127") {
  const std::vector<float> weight = {127.5f, -127.5f, 1.0f, 0.0f};
  const UnpackedLinear linear = quantize_rtn(weight, 1, 4, group(4, true, 8));
  CHECK(linear.scales == std::vector<float>{1.0f});
  CHECK(linear.codes == std::vector<int8_t>{127, -128, 1, 0});
}

TEST_CASE("no weight moves further than half a step, but for the end of the range and bf16's rounding") {
  constexpr int64_t kOut = 24, kIn = 192;
  const std::vector<float> weight = random_bf16(kOut * kIn, 3);
  for (const bool symmetric : {true, false}) {
    for (const int bits : {4, 8}) {
      for (const int64_t size : {int64_t{32}, int64_t{64}, int64_t{0}}) {
        const UnpackedLinear linear = quantize_rtn(weight, kOut, kIn, group(size, symmetric, bits));
        for (size_t i = 0; i < weight.size(); ++i) {
          const size_t at =
              i / kIn * static_cast<size_t>(linear.num_groups) + static_cast<size_t>(linear.group_of_column[i % kIn]);
          const double zero = symmetric ? 0 : linear.zero_points[at], scale = linear.scales[at];
          const double restored = (linear.codes[i] - zero) * scale;
          // Roundings to bf16 of at most 2^-8 of the code each: two, and two more where a zero point takes part; and
          // half a code lost at the positive end.
          const double slack = (1 << (bits - 1)) * (symmetric ? 0x1p-7 : 0x1p-6);
          CHECK(std::abs(restored - static_cast<double>(weight[i])) <= scale * (0.5 + slack));
        }
      }
    }
  }
}

TEST_CASE("rows do not depend on their neighbors") {
  const std::vector<float> weight = random_bf16(16 * 64, 5);
  const UnpackedLinear whole = quantize_rtn(weight, 16, 64, group(32, false));
  const UnpackedLinear part = quantize_rtn(std::span(weight).subspan(4 * 64, 3 * 64), 3, 64, group(32, false));
  CHECK(std::vector<int8_t>(whole.codes.begin() + 4 * 64, whole.codes.begin() + 7 * 64) == part.codes);
  CHECK(std::vector<float>(whole.scales.begin() + 4 * 2, whole.scales.begin() + 7 * 2) == part.scales);
  CHECK(std::vector<int8_t>(whole.zero_points.begin() + 4 * 2, whole.zero_points.begin() + 7 * 2) == part.zero_points);
}

TEST_CASE("codes, scales and zero points equal llm-compressor's round-to-nearest, bit for bit") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto file = SafetensorsFile::open(*shared / "oracle/model/gptq/gptq.safetensors");
  REQUIRE(file.ok());
  int runs = 0;
  for (const TensorView& tensor : file->tensors()) {
    const size_t mark = tensor.name.find(".rtn.g");
    if (mark == std::string::npos || tensor.name.find(".packed") == std::string::npos) continue;
    CAPTURE(tensor.name);
    const std::string run = tensor.name.substr(0, tensor.name.rfind('.'));
    const TensorView& weight = *file->find(tensor.name.substr(0, mark) + ".W");
    const QuantScheme scheme = group(std::stoi(tensor.name.substr(mark + 6)), run.find(".asym") == std::string::npos);
    const UnpackedLinear linear = quantize_rtn(*to_floats(weight), weight.rows(), weight.cols(), scheme);
    CHECK(pack_codes(linear.codes.data(), weight.rows(), weight.cols(), 4) == testing::elements_of<int32_t>(tensor));
    CHECK(linear.scales == *to_floats(*file->find(run + ".scale")));
    if (!scheme.symmetric) CHECK(linear.zero_points == testing::elements_of<int8_t>(*file->find(run + ".zero_point")));
    ++runs;
  }
  CHECK(runs == 6);
}

TEST_CASE("codes and scales equal compressed-tensors' for every published variant of a bf16 weight") {
  const auto shared = testing::shared_folder();
  if (!shared) {
    MESSAGE("skipped: no ../shared");
    return;
  }
  const auto file = SafetensorsFile::open(*shared / "oracle/model/packed/packed.safetensors");
  REQUIRE(file.ok());
  struct Variant {
    const char* name;
    QuantScheme scheme;
  };
  const Variant variants[] = {
      {"g128_sym", group(128)},
      {"g64_sym", group(64)},
      {"g32_sym", group(32)},
      {"channel_sym", group(0)},
      {"g128_asym", group(128, false)},
      {"channel_sym_ragged_cols", group(0)},
      {"channel_asym", group(0, false)},
      {"g32_asym_ragged_rows", group(32, false)},
      {"g128_sym_8bit", group(128, true, 8)},
      {"channel_asym_8bit", group(0, false, 8)},
      {"g64_sym_zero_groups", group(64)},
  };
  for (const Variant& variant : variants) {
    CAPTURE(variant.name);
    const std::string prefix = std::string(variant.name) + ".";
    const TensorView& weight = *file->find(prefix + "original");
    const UnpackedLinear linear = quantize_rtn(*to_floats(weight), weight.rows(), weight.cols(), variant.scheme);
    CHECK(linear.codes == testing::elements_of<int8_t>(*file->find(prefix + "codes")));
    CHECK(linear.scales == *to_floats(*file->find(prefix + "weight_scale")));
    if (const TensorView* zero_points = file->find(prefix + "zero_point_unpacked")) {
      CHECK(linear.zero_points == testing::elements_of<int8_t>(*zero_points));
    }
  }
}
