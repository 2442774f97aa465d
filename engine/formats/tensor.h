#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay {

enum class DType : uint8_t { f32, f16, bf16, f64, i64, i32, i16, i8, u8, boolean };

size_t dtype_bytes(DType dtype);
std::string_view dtype_name(DType dtype);  // safetensors' spelling: "BF16", "I32", ...
Result<DType> parse_dtype(std::string_view safetensors_name);

// Extents of a row-major tensor, slowest first; a scalar has none.
using Shape = std::vector<int64_t>;
std::string shape_text(const Shape& shape);  // "[576, 1536]"
// Elements in a shape. Errors: bad_data on a negative extent or when the product does not fit 63 bits.
Result<int64_t> num_elements(const Shape& shape);

// A named tensor in somebody else's memory (usually a mapped file). Row-major, little-endian. Owns nothing: whoever
// made it says how long the bytes live. `bytes` need not be aligned to the element size.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  // exactly num_elements(shape) * dtype_bytes(dtype)

  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t cols() const { return shape.size() < 2 ? 1 : shape[1]; }
};

// Conversions between the 16-bit formats and float, in the header because loaders call them for every weight. To 16
// bits they round to nearest, ties to even, and overflow to infinity; NaN stays NaN; from 16 bits they are exact.
float bf16_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);
float f16_to_float(uint16_t bits);
uint16_t float_to_f16(float value);

// The elements of an f32, f16, bf16 tensor as floats. Errors: unsupported for other dtypes.
Result<std::vector<float>> to_floats(const TensorView& tensor);

// A tensor's or key's name as messages show it: in quotes, the middle of a very long one left out.
std::string quoted_name(std::string_view name);

inline float bf16_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

inline uint16_t float_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (bits >> 16) | 0x40u;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

inline float f16_to_float(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  const auto subnormal = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  const uint32_t exponent_shift = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23;  // infinity and NaN go to the top
  const uint32_t normal = (magnitude << 13) + exponent_shift;
  return std::bit_cast<float>(sign | (magnitude < 0x0400u ? subnormal : normal));
}

}  // namespace assay
