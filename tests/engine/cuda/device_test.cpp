// What CUDA says becomes a Status that a caller can act on.

#include "engine/cuda/device.h"

#include <doctest/doctest.h>

#include "engine/cuda/upload.h"
#include "tests/engine/cuda/on_device.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::cuda::testing;

TEST_CASE("errors of the device are told apart: too little memory, no driver, our own fault") {
  CHECK(check(cudaSuccess, "x").ok());
  const Status memory = check(cudaErrorMemoryAllocation, "cudaMalloc");
  CHECK(memory.code() == Code::out_of_memory);
  CHECK(memory.message().find("cudaMalloc") != std::string::npos);
  const Status driver = check(cudaErrorInsufficientDriver, "cudaGetDeviceCount");
  CHECK(driver.code() == Code::unavailable);
  CHECK(driver.message().find("--backend cpu") != std::string::npos);
  const Status fault = check(cudaErrorIllegalAddress, "rms_norm");
  CHECK(fault.code() == Code::internal);
  CHECK(fault.message().find("rms_norm") != std::string::npos);
  CHECK(fault.message().find("cudaErrorIllegalAddress") != std::string::npos);
}

TEST_CASE("uploads of any size arrive whole, through pieces filled by many threads") {
  ASSAY_NEEDS_DEVICE();
  Uploader uploader = Uploader::create().value();
  for (const size_t count : {size_t{1}, size_t{1000}, size_t{40'000'000}}) {
    std::vector<uint32_t> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<uint32_t>(i * 2654435761u);
    const DeviceBuffer sent = uploader.upload(values, "a test").value();
    done(uploader.finish());
    CHECK(from_device<uint32_t>(sent) == values);
  }
  CHECK(DeviceBuffer::allocate(0, "nothing").value().empty());
}
