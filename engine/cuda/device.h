#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/status.h"

namespace assay::cuda {

// A CUDA call's result as a Status. Running out of memory is out_of_memory (the caller may retry with less), no driver
// or no device is unavailable, anything else internal. After an error that the device cannot recover from every later
// call fails too, and the message says that the process must be restarted.
Status check(cudaError_t error, const char* what);

// After a launch: the launch's own error, and in debug builds the error of running it.
Status check_launch(const char* kernel, cudaStream_t stream);

#define ASSAY_CUDA(call) ASSAY_TRY(::assay::cuda::check((call), #call))
#define ASSAY_CUDA_LAUNCHED(kernel, stream) ASSAY_TRY(::assay::cuda::check_launch(kernel, stream))

// What the machine offers.
struct DeviceInfo {
  int index = 0;
  std::string name;
  int sm_major = 0, sm_minor = 0;
  int num_sms = 0;
  int64_t l2_bytes = 0;
  int64_t total_bytes = 0, free_bytes = 0;
  int max_shared_bytes = 0;  // a block may ask for, opt-in
  int driver_version = 0;    // 13000: 13.0
};

// Devices that this process sees; 0 without a driver. Starts no context.
int num_devices();

// Makes the device current for this thread. Errors: unavailable says what is missing: driver, device, or compute
// capability 9.0.
Result<DeviceInfo> open_device(int index);

// Owns device memory.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  // Not initialized; 0 bytes give an empty buffer. Errors: out_of_memory names `what`, its size and what is free.
  static Result<DeviceBuffer> allocate(int64_t bytes, std::string_view what);

  int64_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Owns page-locked host memory, which copies to and from the device read and write without staging.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  ~PinnedBuffer();
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  static Result<PinnedBuffer> allocate(int64_t bytes, std::string_view what);

  int64_t bytes() const { return bytes_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

class Stream {
 public:
  Stream() = default;
  ~Stream();
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  static Result<Stream> create();

  cudaStream_t get() const { return stream_; }
  // Waits for all that was queued; an error of any of it comes out here.
  Status synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
};

class Event {
 public:
  Event() = default;
  ~Event();
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  // With `timing` two events can be subtracted.
  static Result<Event> create(bool timing = false);

  cudaEvent_t get() const { return event_; }
  Status record(const Stream& stream) const;
  Status synchronize() const;

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace assay::cuda
