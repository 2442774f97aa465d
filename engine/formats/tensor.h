#pragma once

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
std::string_view dtype_name(DType dtype);               // safetensors' spelling: "BF16", "I32", ...
Result<DType> parse_dtype(std::string_view safetensors_name);

// Extents of a row-major tensor, slowest first; a scalar has none.
using Shape = std::vector<int64_t>;
std::string shape_text(const Shape& shape);             // "[576, 1536]"
// Elements in a shape. Errors: bad_data on a negative extent or when the product does not fit 63 bits.
Result<int64_t> num_elements(const Shape& shape);

// A named tensor in somebody else's memory (usually a mapped file). Row-major, little-endian. Owns nothing: whoever made
// it says how long the bytes live. `bytes` need not be aligned to the element size.
struct TensorView {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  // exactly num_elements(shape) * dtype_bytes(dtype)

  int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  int64_t cols() const { return shape.size() < 2 ? 1 : shape[1]; }
};

// Conversions between the 16-bit formats and float. bf16 rounds to nearest even; NaN stays NaN.
float bf16_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);
float f16_to_float(uint16_t bits);
uint16_t float_to_f16(float value);

// The elements of an f32, f16, bf16 tensor as floats. Errors: unsupported for other dtypes.
Result<std::vector<float>> to_floats(const TensorView& tensor);

}  // namespace assay
