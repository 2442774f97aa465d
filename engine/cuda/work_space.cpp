#include "engine/cuda/work_space.h"

#include <utility>

#include "engine/model/rope_table.h"

namespace assay::cuda {

Result<WorkSpace> allocate_space(const ModelConfig& config, const MemoryPlan& plan, Uploader& uploader) {
  WorkSpace space;
  ASSAY_ASSIGN(space.residual, DeviceBuffer::allocate(plan.residual_bytes, "activations"));
  ASSAY_ASSIGN(space.picked, DeviceBuffer::allocate(plan.picked_bytes, "activations"));
  ASSAY_ASSIGN(space.normed, DeviceBuffer::allocate(plan.normed_bytes, "activations"));
  ASSAY_ASSIGN(space.qkv, DeviceBuffer::allocate(plan.qkv_bytes, "activations"));
  ASSAY_ASSIGN(space.attended, DeviceBuffer::allocate(plan.attended_bytes, "activations"));
  ASSAY_ASSIGN(space.mlp, DeviceBuffer::allocate(plan.mlp_bytes, "activations"));
  ASSAY_ASSIGN(space.linear, DeviceBuffer::allocate(plan.linear_scratch_bytes, "scratch of products"));
  ASSAY_ASSIGN(space.w4, DeviceBuffer::allocate(plan.w4_scratch_bytes, "sums of W4A16 products"));
  if (!space.w4.empty())
    ASSAY_CUDA(cudaMemsetAsync(space.w4.data(), 0, static_cast<size_t>(space.w4.bytes()), uploader.stream()));
  ASSAY_ASSIGN(space.logits, DeviceBuffer::allocate(plan.logit_bytes, "a chunk of logits"));
  ASSAY_ASSIGN(space.partials, DeviceBuffer::allocate(plan.partial_bytes, "partial sums of attention"));
  const RopeTable angles = make_rope_table(config.rope, config.head_dim, plan.rope_positions);
  ASSAY_ASSIGN(space.cos, uploader.upload(angles.cos, "rotary table"));
  ASSAY_ASSIGN(space.sin, uploader.upload(angles.sin, "rotary table"));
  return space;
}

Status Mirror::reserve(int64_t bytes, std::string_view what) {
  if (bytes <= device.bytes()) return ok_status();
  device = DeviceBuffer();
  host = PinnedBuffer();
  const int64_t rounded = (bytes + bytes / 4 + 4095) / 4096 * 4096;
  ASSAY_ASSIGN(DeviceBuffer on_device, DeviceBuffer::allocate(rounded, what));
  ASSAY_ASSIGN(host, PinnedBuffer::allocate(rounded, what));
  device = std::move(on_device);
  return ok_status();
}

}  // namespace assay::cuda
