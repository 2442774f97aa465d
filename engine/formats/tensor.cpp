#include "engine/formats/tensor.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstring>

namespace assay {
namespace {

static_assert(std::endian::native == std::endian::little, "checkpoints are little-endian and are read in place");

struct DTypeFacts {
  std::string_view name;
  size_t bytes;
};

constexpr std::array<DTypeFacts, 10> kDTypes = {{{"F32", 4},
                                                 {"F16", 2},
                                                 {"BF16", 2},
                                                 {"F64", 8},
                                                 {"I64", 8},
                                                 {"I32", 4},
                                                 {"I16", 2},
                                                 {"I8", 1},
                                                 {"U8", 1},
                                                 {"BOOL", 1}}};

template <class Stored, class Convert>
std::vector<float> convert_all(const TensorView& tensor, Convert convert) {
  std::vector<float> floats(tensor.bytes.size() / sizeof(Stored));
  for (size_t i = 0; i < floats.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, tensor.bytes.data() + i * sizeof(Stored), sizeof(Stored));
    floats[i] = convert(stored);
  }
  return floats;
}

}  // namespace

size_t dtype_bytes(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].bytes; }

std::string_view dtype_name(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].name; }

Result<DType> parse_dtype(std::string_view safetensors_name) {
  for (size_t i = 0; i < kDTypes.size(); ++i) {
    if (kDTypes[i].name == safetensors_name) return static_cast<DType>(i);
  }
  return unsupported(fmt::format("dtype {} is not read: expected F32, F16, BF16, F64, I64, I32, I16, I8, U8 or BOOL",
                                 quoted_name(safetensors_name)));
}

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Result<int64_t> num_elements(const Shape& shape) {
  // Zero extents are left out of the bound, so that the answer does not depend on where the zero stands.
  int64_t product = 1;
  bool empty = false;
  for (const int64_t extent : shape) {
    if (extent < 0) return bad_data(fmt::format("shape {}: an extent is negative", shape_text(shape)));
    if (extent == 0) empty = true;
    if (extent > 0 && __builtin_mul_overflow(product, extent, &product)) {
      return bad_data(fmt::format("shape {}: the number of elements does not fit 63 bits", shape_text(shape)));
    }
  }
  return empty ? int64_t{0} : product;
}

uint16_t float_to_f16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  constexpr uint32_t kInfinity = 0x7f800000u, kOverflow = 0x477ff000u, kSmallestNormal = 0x38800000u;
  if (magnitude > kInfinity) return sign | 0x7e00u;
  if (magnitude >= kOverflow) return sign | 0x7c00u;  // 65520 and up: halfway beyond the largest f16
  if (magnitude < kSmallestNormal) {
    // Adding 0.5 moves the last bit of f16's subnormals to the last bit of the sum, so the addition does the rounding.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f));
  }
  const uint32_t rounded = magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>(rounded >> 13);
}

Result<std::vector<float>> to_floats(const TensorView& tensor) {
  switch (tensor.dtype) {
    case DType::f32: return convert_all<float>(tensor, [](float value) { return value; });
    case DType::f16: return convert_all<uint16_t>(tensor, f16_to_float);
    case DType::bf16: return convert_all<uint16_t>(tensor, bf16_to_float);
    default:
      return unsupported(fmt::format("tensor {}: dtype {}, expected F32, F16 or BF16", quoted_name(tensor.name),
                                     dtype_name(tensor.dtype)));
  }
}

std::string quoted_name(std::string_view name) {
  constexpr size_t kLongest = 160, kKept = 70;
  if (name.size() <= kLongest) return fmt::format("\"{}\"", name);
  return fmt::format("\"{}...{}\" ({} bytes)", name.substr(0, kKept), name.substr(name.size() - kKept), name.size());
}

}  // namespace assay
