#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 128;

template <class T>
struct RotaryPiece {
  Eight<T> first, second;  // eight neighbors of each half of a head
};

// Turns pairs (j, j + half), eight of them; head points at the head's first element.
template <class T>
__device__ __forceinline__ RotaryPiece<T> turned(const T* head, int half, int j, const float* cos, const float* sin) {
  const Eight<T> a = load_eight(head + j), b = load_eight(head + half + j);
  const Eight<float> c = load_eight(cos + j), s = load_eight(sin + j);
  RotaryPiece<T> out;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float x = to_float(a.values[i]), y = to_float(b.values[i]);
    out.first.values[i] = from_float<T>(x * c.values[i] - y * s.values[i]);
    out.second.values[i] = from_float<T>(y * c.values[i] + x * s.values[i]);
  }
  return out;
}

// A row shared by gridDim.y blocks, a thread a piece: eight pairs of one head, queries first, then keys with their
// values.
template <class T>
__global__ void turn_and_store(RopeKvWrite work) {
  begin_kernel();
  const int64_t row = blockIdx.x;
  const int head_dim = work.cache.head_dim, half = head_dim / 2, pieces = half / 8;
  const int num_kv_heads = work.cache.num_kv_heads;
  T* queries = static_cast<T*>(work.qkv) + row * work.ld;
  const T* keys = queries + static_cast<int64_t>(work.num_heads) * head_dim;
  const T* values = keys + static_cast<int64_t>(num_kv_heads) * head_dim;
  const float* cos = work.cos + static_cast<int64_t>(work.positions[row]) * half;
  const float* sin = work.sin + static_cast<int64_t>(work.positions[row]) * half;
  const int begin = work.first_write[row], end = work.first_write[row + 1];
  T* cache = static_cast<T*>(work.cache.data);

  const int piece = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  const int head = piece / pieces, j = piece % pieces * 8;
  if (head < work.num_heads) {
    T* query = queries + static_cast<int64_t>(head) * head_dim;
    const RotaryPiece<T> out = turned(query, half, j, cos, sin);
    store_eight(query + j, out.first);
    store_eight(query + half + j, out.second);
    return;
  }
  const int kv_head = head - work.num_heads;
  if (kv_head >= num_kv_heads) return;
  const RotaryPiece<T> key = turned(keys + static_cast<int64_t>(kv_head) * head_dim, half, j, cos, sin);
  const T* value = values + static_cast<int64_t>(kv_head) * head_dim;
  const Eight<T> first = load_eight(value + j), second = load_eight(value + half + j);
  for (int w = begin; w < end; ++w) {
    const int slot = work.write_slots[w];
    const int64_t block = slot / kKvBlockTokens;
    T* key_row = cache + ((block * num_kv_heads + kv_head) * 2 * kKvBlockTokens + slot % kKvBlockTokens) * head_dim;
    T* value_row = key_row + static_cast<int64_t>(kKvBlockTokens) * head_dim;
    store_eight(key_row + j, key.first);
    store_eight(key_row + half + j, key.second);
    store_eight(value_row + j, first);
    store_eight(value_row + half + j, second);
  }
}

// One KV head of one layer, keys and values, a block. Copies follow one another: one may read what an earlier one
// wrote, and only this block touches these bytes.
template <class T>
__global__ void copy_slots(T* first_layer, int64_t layer_stride, int num_kv_heads, int head_dim, const int32_t* copies,
                           int count) {
  const int head = blockIdx.x;
  T* layer = first_layer + static_cast<int64_t>(blockIdx.y) * layer_stride;
  const int64_t head_size = int64_t{2} * kKvBlockTokens * head_dim;
  for (int c = 0; c < count; ++c) {
    const int64_t from = copies[3 * c], to = copies[3 * c + 1];
    const int pieces = copies[3 * c + 2] * head_dim / 8;
    const T* source = layer + (from * num_kv_heads + head) * head_size;
    T* target = layer + (to * num_kv_heads + head) * head_size;
    for (int i = threadIdx.x; i < 2 * pieces; i += kThreads) {
      const int64_t at = i < pieces ? i * 8 : int64_t{kKvBlockTokens} * head_dim + (i - pieces) * 8;
      store_eight(target + at, load_eight(source + at));
    }
    __syncthreads();
  }
}

}  // namespace

Status rope_kv_write(Element element, const RopeKvWrite& work, const Queue& queue) {
  if (work.rows == 0) return ok_status();
  const int pieces = (work.num_heads + work.cache.num_kv_heads) * work.cache.head_dim / 16;
  const dim3 grid(static_cast<unsigned>(work.rows), static_cast<unsigned>((pieces + kThreads - 1) / kThreads));
  ASSAY_FOR_ELEMENT(element, ASSAY_CUDA(queue_kernel(turn_and_store<T>, grid, kThreads, 0, queue, work)));
  return check_launch("rope_kv_write", queue.stream);
}

Status copy_kv_blocks(Element element, const KvLayer& first_layer, int64_t num_layers, int64_t layer_stride_bytes,
                      const int32_t* copies, int64_t count, cudaStream_t stream) {
  if (count == 0) return ok_status();
  const dim3 grid(static_cast<unsigned>(first_layer.num_kv_heads), static_cast<unsigned>(num_layers));
  ASSAY_FOR_ELEMENT(element, copy_slots<T><<<grid, kThreads, 0, stream>>>(
                                 static_cast<T*>(first_layer.data), layer_stride_bytes / element_bytes(element),
                                 first_layer.num_kv_heads, first_layer.head_dim, copies, static_cast<int>(count)));
  return check_launch("copy_kv_blocks", stream);
}

}  // namespace assay::cuda
