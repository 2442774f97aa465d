#include "bench/nvml.h"

#include <dlfcn.h>

namespace assay::bench {
namespace {

// The few functions used, declared as NVML's documentation gives them; 0 is success.
struct Nvml {
  using Device = void*;
  int (*init)() = nullptr;
  int (*device)(unsigned, Device*) = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*power)(Device, unsigned*) = nullptr;
  int (*temperature)(Device, int, unsigned*) = nullptr;
  int (*reasons)(Device, unsigned long long*) = nullptr;
  Device gpu = nullptr;
  bool usable = false;
};

Nvml open_nvml() {
  Nvml nvml;
  void* library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) library = dlopen("/usr/local/nvidia/lib64/libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nvml;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    return function != nullptr;
  };
  const bool found = find(nvml.init, "nvmlInit_v2") && find(nvml.device, "nvmlDeviceGetHandleByIndex_v2") &&
                     find(nvml.clock, "nvmlDeviceGetClockInfo") && find(nvml.power, "nvmlDeviceGetPowerUsage") &&
                     find(nvml.temperature, "nvmlDeviceGetTemperature") &&
                     find(nvml.reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
  nvml.usable = found && nvml.init() == 0 && nvml.device(0, &nvml.gpu) == 0;
  return nvml;
}

}  // namespace

GpuState gpu_state() {
  static const Nvml nvml = open_nvml();
  GpuState state;
  if (!nvml.usable) return state;
  constexpr int kSmClock = 1, kMemoryClock = 2, kGpuSensor = 0;
  nvml.clock(nvml.gpu, kSmClock, &state.sm_mhz);
  nvml.clock(nvml.gpu, kMemoryClock, &state.memory_mhz);
  nvml.power(nvml.gpu, &state.power_mw);
  nvml.temperature(nvml.gpu, kGpuSensor, &state.celsius);
  nvml.reasons(nvml.gpu, &state.slowdown_reasons);
  return state;
}

}  // namespace assay::bench
