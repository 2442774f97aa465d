#include "bench/kernel_bench.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "engine/cuda/blas.h"
#include "engine/cuda/kernels.h"

namespace assay {
namespace {

using cuda::DeviceBuffer;

void require(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  std::exit(1);
}

template <class T>
T require(Result<T> result) {
  if (!result.ok()) require(result.status());
  return std::move(*result);
}

__global__ void read_all(const uint4* from, int64_t count, uint32_t* sink) {
  uint32_t mixed = 0;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 four[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) four[j] = __ldcs(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 4; ++j) mixed ^= four[j].x ^ four[j].y ^ four[j].z ^ four[j].w;
  }
  for (; i < count; i += stride) mixed ^= from[i].x;
  if (mixed == 0x12345678u) *sink = mixed;  // keeps the reads
}

// The best of some runs, in seconds.
double best_seconds(int runs, const std::function<Status(cudaStream_t)>& work) {
  const cuda::Stream stream = require(cuda::Stream::create());
  const cuda::Event start = require(cuda::Event::create(true)), stop = require(cuda::Event::create(true));
  double best = 1e30;
  for (int i = 0; i < runs; ++i) {
    require(start.record(stream));
    require(work(stream.get()));
    require(stop.record(stream));
    require(stop.synchronize());
    float ms = 0;
    require(cuda::check(cudaEventElapsedTime(&ms, start.get(), stop.get()), "cudaEventElapsedTime"));
    if (i > 0) best = std::min(best, static_cast<double>(ms) * 1e-3);
  }
  return best;
}

double measure_read() {
  constexpr int64_t kBytes = int64_t{4} << 30;
  const DeviceBuffer buffer = require(DeviceBuffer::allocate(kBytes, "bytes to read"));
  const DeviceBuffer sink = require(DeviceBuffer::allocate(4, "a sink"));
  require(cuda::check(cudaMemset(buffer.data(), 0x3c, static_cast<size_t>(kBytes)), "cudaMemset"));
  const double seconds = best_seconds(8, [&](cudaStream_t stream) {
    read_all<<<132 * 8, 512, 0, stream>>>(buffer.as<uint4>(), kBytes / 16, sink.as<uint32_t>());
    return cuda::check_launch("read_all", stream);
  });
  return static_cast<double>(kBytes) / seconds;
}

double measure_matmul(cuda::Blas* blas) {
  constexpr int64_t kSide = 8192;
  const DeviceBuffer x = require(DeviceBuffer::allocate(kSide * kSide * 2, "a matrix"));
  const DeviceBuffer w = require(DeviceBuffer::allocate(kSide * kSide * 2, "a matrix"));
  const DeviceBuffer out = require(DeviceBuffer::allocate(kSide * kSide * 2, "a matrix"));
  require(cuda::fill_random_bf16(x.data(), kSide * kSide, nullptr));
  require(cuda::fill_random_bf16(w.data(), kSide * kSide, nullptr));
  const cuda::BlasShape shape{kSide, kSide, false, false};
  if (blas) require(blas->prepare(shape, w.data(), nullptr));
  require(cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"));
  const bool library = blas && blas->is_prepared(shape);
  const double seconds = best_seconds(8, [&](cudaStream_t stream) {
    if (library) return blas->multiply(shape, x.data(), w.data(), kSide, out.data(), kSide, stream);
    const cuda::Epilogue store{cuda::Epilogue::Kind::store, out.data(), kSide};
    return cuda::multiply_own(cuda::Element::bf16, x.data(), w.data(), kSide, kSide, kSide, store, stream);
  });
  return 2.0 * kSide * kSide * kSide / seconds;
}

// The few functions of NVML that are asked.
struct Nvml {
  int (*init)() = nullptr;
  int (*device)(unsigned, void**) = nullptr;
  int (*clock)(void*, unsigned, unsigned*) = nullptr;
  int (*reasons)(void*, unsigned long long*) = nullptr;
};

Nvml open_nvml() {
  Nvml nvml;
  void* handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle) return nvml;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
  };
  find(nvml.init, "nvmlInit_v2");
  find(nvml.device, "nvmlDeviceGetHandleByIndex_v2");
  find(nvml.clock, "nvmlDeviceGetClockInfo");
  find(nvml.reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
  return nvml;
}

}  // namespace

const Peaks& measured_peaks() {
  static const Peaks peaks = [] {
    Peaks measured;
    measured.read_bytes_per_s = measure_read();
    auto blas = cuda::Blas::open();
    measured.from_library = blas.ok();
    measured.flops_per_s = measure_matmul(blas.ok() ? blas->get() : nullptr);
    return measured;
  }();
  return peaks;
}

std::string clocks_text() {
  static const Nvml nvml = open_nvml();
  void* device = nullptr;
  if (!nvml.init || !nvml.device || !nvml.clock || nvml.init() != 0 || nvml.device(0, &device) != 0) return "";
  unsigned sm = 0, memory = 0;
  unsigned long long reasons = 0;
  nvml.clock(device, 1, &sm);
  nvml.clock(device, 2, &memory);
  if (nvml.reasons) nvml.reasons(device, &reasons);
  char text[96];
  std::snprintf(text, sizeof text, "sm %u MHz, memory %u MHz, throttle reasons 0x%llx", sm, memory, reasons);
  return text;
}

void add_device_context() {
  const cuda::DeviceInfo device = require(cuda::open_device(0));
  auto blas = cuda::Blas::open();
  benchmark::AddCustomContext("device", device.name);
  benchmark::AddCustomContext("driver", std::to_string(device.driver_version));
  benchmark::AddCustomContext("cublaslt", blas.ok() ? blas->get()->version() : blas.status().message());
  const Peaks& peaks = measured_peaks();
  benchmark::AddCustomContext("peak read TB/s", std::to_string(peaks.read_bytes_per_s * 1e-12));
  benchmark::AddCustomContext(peaks.from_library ? "peak matmul TFLOP/s" : "own matmul TFLOP/s",
                              std::to_string(peaks.flops_per_s * 1e-12));
  benchmark::AddCustomContext("clocks after the peaks", clocks_text());
}

ColdBuffers::ColdBuffers(int64_t bytes, int64_t at_least) {
  if (at_least == 0) at_least = 3 * require(cuda::open_device(0)).l2_bytes;
  const int64_t count = std::max<int64_t>(1, (at_least + bytes - 1) / bytes);
  for (int64_t i = 0; i < count; ++i) {
    buffers_.push_back(require(DeviceBuffer::allocate((bytes + 15) / 16 * 16, "inputs of a benchmark")));
    require(cuda::fill_random_bf16(buffers_.back().data(), bytes / 2, nullptr));
  }
  require(cuda::check(cudaDeviceSynchronize(), "cudaDeviceSynchronize"));
}

void time_launches(benchmark::State& state, size_t distinct, double bytes, double flops,
                   const std::function<Status(size_t i, cudaStream_t stream)>& launch) {
  const size_t launches = std::max<size_t>(distinct, 20);
  const cuda::Stream stream = require(cuda::Stream::create());
  const cuda::Event start = require(cuda::Event::create(true)), stop = require(cuda::Event::create(true));
  const auto fail = [&](const Status& status) { state.SkipWithError(status.message().c_str()); };
  if (const Status warm = launch(0, stream.get()); !warm.ok()) return fail(warm);  // attributes are set outside a graph
  if (const Status ran = stream.synchronize(); !ran.ok()) return fail(ran);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t replay = nullptr;
  Status status = cuda::check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "capture");
  for (size_t i = 0; i < launches && status.ok(); ++i) status = launch(i, stream.get());
  const Status ended = cuda::check(cudaStreamEndCapture(stream.get(), &graph), "end of capture");
  if (status.ok()) status = ended;
  if (status.ok()) status = cuda::check(cudaGraphInstantiate(&replay, graph, 0), "cudaGraphInstantiate");
  if (status.ok()) status = cuda::check(cudaGraphLaunch(replay, stream.get()), "cudaGraphLaunch");
  double best = 1e30;
  for (auto _ : state) {
    if (!status.ok()) break;
    float ms = 0;
    status = start.record(stream);
    if (status.ok()) status = cuda::check(cudaGraphLaunch(replay, stream.get()), "cudaGraphLaunch");
    if (status.ok()) status = stop.record(stream);
    if (status.ok()) status = stop.synchronize();
    if (status.ok()) status = cuda::check(cudaEventElapsedTime(&ms, start.get(), stop.get()), "cudaEventElapsedTime");
    const double seconds = static_cast<double>(ms) * 1e-3 / static_cast<double>(launches);
    best = std::min(best, seconds);
    state.SetIterationTime(seconds);
  }
  if (replay) cudaGraphExecDestroy(replay);
  if (graph) cudaGraphDestroy(graph);
  if (!status.ok()) return fail(status);
  const Peaks& peaks = measured_peaks();
  state.counters["best_us"] = best * 1e6;
  if (bytes > 0) {
    state.counters["TB/s"] = bytes / best * 1e-12;
    state.counters["percent_of_read"] = bytes / best / peaks.read_bytes_per_s * 100;
  }
  if (flops > 0) {
    state.counters["TFLOP/s"] = flops / best * 1e-12;
    state.counters["percent_of_matmul"] = flops / best / peaks.flops_per_s * 100;
  }
  state.SetLabel(clocks_text());
}

}  // namespace assay
