#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/status.h"
#include "engine/cuda/device.h"
#include "engine/cuda/memory_plan.h"
#include "engine/cuda/upload.h"
#include "engine/model/model_config.h"

namespace assay::cuda {

// Everything a forward pass writes, besides what grows with a batch's wishes.
struct WorkSpace {
  DeviceBuffer residual;  // float [rows, hidden_size]
  DeviceBuffer picked;    // the same, rows that want logits only
  DeviceBuffer normed;    // [rows, hidden_size]
  DeviceBuffer qkv;       // [rows, q, k, v]
  DeviceBuffer attended;  // [rows, q]
  DeviceBuffer mlp;       // [rows, intermediate_size]
  DeviceBuffer linear;    // of products
  DeviceBuffer w4;        // of W4A16 kernels, which leave it zero
  DeviceBuffer logits;    // float [logit_rows, vocab_size]
  DeviceBuffer partials;  // float [slots, num_heads, head_dim + 2]
  DeviceBuffer cos, sin;  // float [positions, head_dim / 2]
  DeviceBuffer kv;        // [layer, block, KV head, keys and values, 16, head_dim]
};

// All but `kv`, which comes when the library has tried its algorithms. Errors: out_of_memory.
Result<WorkSpace> allocate_space(const ModelConfig& config, const MemoryPlan& plan, Uploader& uploader);

// A device buffer and its page-locked twin, grown when more is needed.
struct Mirror {
  DeviceBuffer device;
  PinnedBuffer host;

  Status reserve(int64_t bytes, std::string_view what);
};

}  // namespace assay::cuda
