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
  int (*name)(Device, char*, unsigned) = nullptr;
  int (*driver)(char*, unsigned) = nullptr;
  int (*memory)(Device, unsigned long long*) = nullptr;  // total, free, used
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
                     find(nvml.reasons, "nvmlDeviceGetCurrentClocksThrottleReasons") &&
                     find(nvml.name, "nvmlDeviceGetName") && find(nvml.driver, "nvmlSystemGetDriverVersion") &&
                     find(nvml.memory, "nvmlDeviceGetMemoryInfo");
  nvml.usable = found && nvml.init() == 0 && nvml.device(0, &nvml.gpu) == 0;
  return nvml;
}

const Nvml& opened() {
  static const Nvml nvml = open_nvml();
  return nvml;
}

}  // namespace

std::string gpu_name() {
  char name[96] = {};
  if (opened().usable) opened().name(opened().gpu, name, sizeof name);
  return name;
}

std::string driver_version() {
  char version[80] = {};
  if (opened().usable) opened().driver(version, sizeof version);
  return version;
}

double gpu_memory_used_gib() {
  unsigned long long bytes[3] = {};
  if (opened().usable) opened().memory(opened().gpu, bytes);
  return static_cast<double>(bytes[2]) / static_cast<double>(1ULL << 30);
}

GpuState gpu_state() {
  const Nvml& nvml = opened();
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
