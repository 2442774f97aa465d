#pragma once

#include <cstdint>

namespace assay::cuda {

// What one chunk of the vocabulary says about a row. Written by the device.
struct ChunkStats {
  float max = 0;       // the largest logit
  float sum = 0;       // of exp(logit - max), in a fixed order
  int32_t argmax = 0;  // lowest id of the largest
  int32_t bad = 0;     // not 0: a logit is not finite
};

struct TopEntry {
  float logit = 0;
  int32_t token = 0;
};

struct DrawnToken {
  int32_t token = -1;
  float logit = 0;
};

// Likeliest tokens that the device finds itself; who wants more gets them from the whole row.
inline constexpr int32_t kMaxDeviceTop = 32;

}  // namespace assay::cuda
