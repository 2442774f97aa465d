#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/device.h"
#include "engine/cuda/linear.h"
#include "engine/formats/tensor.h"

// Leaves a test with a message where there is no device to run it on.
#define ASSAY_NEEDS_DEVICE()                           \
  do {                                                 \
    std::string why_not;                               \
    if (!::assay::cuda::has_device(&why_not)) {        \
      MESSAGE("skipped: no CUDA device: " << why_not); \
      return;                                          \
    }                                                  \
  } while (false)

namespace assay::cuda::testing {

inline size_t sz(int64_t value) { return static_cast<size_t>(value); }

template <class T>
DeviceBuffer to_device(const std::vector<T>& values) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  DeviceBuffer buffer = DeviceBuffer::allocate(bytes, "a test").value();
  if (bytes > 0)
    REQUIRE(cudaMemcpy(buffer.data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) == cudaSuccess);
  return buffer;
}

template <class T>
std::vector<T> from_device(const DeviceBuffer& buffer) {
  std::vector<T> values(static_cast<size_t>(buffer.bytes()) / sizeof(T));
  const cudaError_t error = cudaMemcpy(values.data(), buffer.data(), values.size() * sizeof(T), cudaMemcpyDeviceToHost);
  REQUIRE_MESSAGE(error == cudaSuccess, cudaGetErrorString(error));
  return values;
}

// Floats as they are stored in an element: rounded to bf16 where that is what it is.
inline std::vector<float> rounded(Element element, std::vector<float> values) {
  if (element == Element::f32) return values;
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

inline DeviceBuffer elements_to_device(Element element, const std::vector<float>& values) {
  if (element == Element::f32) return to_device(values);
  std::vector<uint16_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(), float_to_bf16);
  return to_device(bits);
}

inline std::vector<float> elements_from_device(Element element, const DeviceBuffer& buffer) {
  if (element == Element::f32) return from_device<float>(buffer);
  const auto bits = from_device<uint16_t>(buffer);
  std::vector<float> values(bits.size());
  std::transform(bits.begin(), bits.end(), values.begin(), bf16_to_float);
  return values;
}

// Device memory that is NaN in every element type.
inline DeviceBuffer nan_buffer(int64_t bytes) {
  return to_device(std::vector<uint8_t>(static_cast<size_t>(bytes), 0xff));
}

inline std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

// What rounding results to the element leaves between kernel and reference.
inline double rounding_of(Element element) { return element == Element::bf16 ? 4e-3 : 3e-6; }
inline const char* name_of(Element element) { return element == Element::bf16 ? "bfloat16" : "float32"; }
inline constexpr Element kElements[] = {Element::bf16, Element::f32};

inline void done(const Status& status) {
  REQUIRE_MESSAGE(status.ok(), status.message());
  const cudaError_t error = cudaDeviceSynchronize();
  REQUIRE_MESSAGE(error == cudaSuccess, cudaGetErrorString(error));
}

}  // namespace assay::cuda::testing
