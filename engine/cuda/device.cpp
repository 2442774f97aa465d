#include "engine/cuda/device.h"

#include <fmt/format.h>

#include "engine/base/check.h"

namespace assay::cuda {
namespace {

constexpr int kNeededMajor = 9, kNeededMinor = 0;

bool lacks_driver(cudaError_t error) {
  return error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver || error == cudaErrorInitializationError ||
         error == cudaErrorStubLibrary || error == cudaErrorSystemDriverMismatch ||
         error == cudaErrorDevicesUnavailable;
}

double gib(int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(int64_t{1} << 30); }

Status no_memory(const char* kind, int64_t bytes, std::string_view what) {
  size_t free = 0, total = 0;
  const bool known = cudaMemGetInfo(&free, &total) == cudaSuccess;
  const std::string room = known ? fmt::format("{:.2f} GiB of {:.2f} are free", gib(static_cast<int64_t>(free)),
                                               gib(static_cast<int64_t>(total)))
                                 : std::string("the device does not say how much is free");
  return out_of_memory(fmt::format("{}: {:.3f} GiB of {} memory cannot be had, {}; use a smaller batch or KV budget",
                                   what, gib(bytes), kind, room));
}

}  // namespace

Status check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return ok_status();
  cudaGetLastError();  // an error that can be cleared must not be seen again by the next call
  const std::string name = fmt::format("{} ({})", cudaGetErrorName(error), cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation)
    return out_of_memory(fmt::format("{}: {}; use a smaller batch or KV budget", what, name));
  if (lacks_driver(error))
    return unavailable(
        fmt::format("CUDA: {}: {}, expected an NVIDIA driver for CUDA 13 and a device; use --backend cpu", what, name));
  const bool lost = cudaPeekAtLastError() != cudaSuccess || cudaFree(nullptr) != cudaSuccess;
  return internal_error(fmt::format("CUDA: {}: {}{}", what, name,
                                    lost ? "; the device's context is lost: start the program again, a run resumes "
                                           "where it stopped"
                                         : ""));
}

Status check_launch(const char* kernel, [[maybe_unused]] cudaStream_t stream) {
  ASSAY_TRY(check(cudaGetLastError(), kernel));
#ifndef NDEBUG
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  if (cudaStreamIsCapturing(stream, &capturing) == cudaSuccess && capturing != cudaStreamCaptureStatusNone)
    return ok_status();
  ASSAY_TRY(check(cudaStreamSynchronize(stream), kernel));
#endif
  return ok_status();
}

int num_devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

Result<DeviceInfo> open_device(int index) {
  int count = 0;
  ASSAY_CUDA(cudaGetDeviceCount(&count));
  if (index >= count)
    return unavailable(fmt::format("CUDA device {}: this machine shows {} devices; use --backend cpu", index, count));
  ASSAY_CUDA(cudaSetDevice(index));
  cudaDeviceProp properties{};
  ASSAY_CUDA(cudaGetDeviceProperties(&properties, index));
  DeviceInfo info;
  info.index = index;
  info.name = properties.name;
  info.sm_major = properties.major;
  info.sm_minor = properties.minor;
  info.num_sms = properties.multiProcessorCount;
  info.l2_bytes = properties.l2CacheSize;
  info.max_shared_bytes = static_cast<int>(properties.sharedMemPerBlockOptin);
  if (info.sm_major != kNeededMajor || info.sm_minor != kNeededMinor)
    return unavailable(
        fmt::format("CUDA device {} ({}): compute capability {}.{}, expected {}.{} (Hopper: H100, H200); "
                    "use --backend cpu",
                    index, info.name, info.sm_major, info.sm_minor, kNeededMajor, kNeededMinor));
  size_t free = 0, total = 0;
  ASSAY_CUDA(cudaMemGetInfo(&free, &total));
  info.free_bytes = static_cast<int64_t>(free);
  info.total_bytes = static_cast<int64_t>(total);
  ASSAY_CUDA(cudaDriverGetVersion(&info.driver_version));
  return info;
}

DeviceBuffer::~DeviceBuffer() {
  if (data_) cudaFree(data_);
}

Result<DeviceBuffer> DeviceBuffer::allocate(int64_t bytes, std::string_view what) {
  ASSAY_CHECK_LE(0, bytes);
  DeviceBuffer made;
  if (bytes == 0) return made;
  const cudaError_t error = cudaMalloc(&made.data_, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    made.data_ = nullptr;
    return no_memory("device", bytes, what);
  }
  ASSAY_TRY(check(error, "cudaMalloc"));
  made.bytes_ = bytes;
  return made;
}

PinnedBuffer::~PinnedBuffer() {
  if (data_) cudaFreeHost(data_);
}

Result<PinnedBuffer> PinnedBuffer::allocate(int64_t bytes, std::string_view what) {
  ASSAY_CHECK_LE(0, bytes);
  PinnedBuffer made;
  if (bytes == 0) return made;
  const cudaError_t error = cudaMallocHost(&made.data_, static_cast<size_t>(bytes));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    made.data_ = nullptr;
    return no_memory("page-locked host", bytes, what);
  }
  ASSAY_TRY(check(error, "cudaMallocHost"));
  made.bytes_ = bytes;
  return made;
}

Stream::~Stream() {
  if (stream_) cudaStreamDestroy(stream_);
}

Result<Stream> Stream::create() {
  Stream made;
  ASSAY_CUDA(cudaStreamCreateWithFlags(&made.stream_, cudaStreamNonBlocking));
  return made;
}

Status Stream::synchronize() const { return check(cudaStreamSynchronize(stream_), "waiting for the device"); }

Event::~Event() {
  if (event_) cudaEventDestroy(event_);
}

Result<Event> Event::create(bool timing) {
  Event made;
  ASSAY_CUDA(cudaEventCreateWithFlags(&made.event_, timing ? cudaEventDefault : cudaEventDisableTiming));
  return made;
}

Status Event::record(const Stream& stream) const {
  return check(cudaEventRecord(event_, stream.get()), "cudaEventRecord");
}

Status Event::synchronize() const { return check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

}  // namespace assay::cuda
