#pragma once

#include <string>

namespace assay::bench {

// What the driver's management library says of device 0 now; zeros where it is not to be had.
struct GpuState {
  unsigned sm_mhz = 0, memory_mhz = 0, power_mw = 0, celsius = 0;
  unsigned long long slowdown_reasons = 0;  // NVML's bit mask; 1: idle, 4: power cap, 0x20 and 0x40: thermal
};

// Opens libnvidia-ml.so.1 at the first call.
GpuState gpu_state();

std::string gpu_name();        // "NVIDIA H100 80GB HBM3"
std::string driver_version();  // "580.159.04"
double gpu_memory_used_gib();

}  // namespace assay::bench
