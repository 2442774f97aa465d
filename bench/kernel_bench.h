#pragma once

#include <benchmark/benchmark.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/cuda/device.h"

namespace assay {

// What this device reaches now: the denominators of every "percent" counter, measured once in the same run.
struct Peaks {
  double read_bytes_per_s = 0;  // a kernel that only reads, 4 GiB
  double flops_per_s = 0;       // bf16 with float32 sums, the library's 8192 x 8192 x 8192, or own kernels without it
  bool from_library = false;
};
const Peaks& measured_peaks();

// Clocks and reasons for lower ones as NVML says them, "" where it is not there: "sm 1980 MHz, memory 2619 MHz, 0x0".
std::string clocks_text();

// Device, driver, library, clocks and peaks into the benchmark's context.
void add_device_context();

// Inputs in as many copies as the L2 does not hold, so that each launch finds them cold. Filled with random bf16.
class ColdBuffers {
 public:
  // Copies of `bytes` until they fill `at_least` bytes (0: three times the L2).
  explicit ColdBuffers(int64_t bytes, int64_t at_least = 0);
  void* operator[](size_t i) const { return buffers_[i % buffers_.size()].data(); }
  size_t count() const { return buffers_.size(); }

 private:
  std::vector<cuda::DeviceBuffer> buffers_;
};

// Times launch(i, stream), i = 0, 1, ...: many launches in one CUDA graph, replayed between two events; the graph's
// first replay does not count. The time of one launch becomes the iteration's (UseManualTime); `bytes` and `flops` of
// one launch become rates and percents of the peaks. A failed launch ends the benchmark with its message.
void time_launches(benchmark::State& state, size_t distinct, double bytes, double flops,
                   const std::function<Status(size_t i, cudaStream_t stream)>& launch);

}  // namespace assay
