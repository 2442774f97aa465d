#include "engine/base/philox.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/kernels/common.cuh"

namespace assay::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kMostListed = 4096;            // tokens of a row that are looked at again and again
constexpr float kListedBelow = 28;           // of the largest scaled logit: the others weigh less than 1e-12 of it
constexpr uint32_t kLowestKey = 0x007fffff;  // of minus infinity

// Unsigned integers in the order of the floats.
__device__ __forceinline__ uint32_t key_of(float value) {
  const uint32_t bits = __float_as_uint(value);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float value_of(uint32_t key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// Reduces over the block, in a fixed order; every thread gets the result.
template <class T, class Merge>
__device__ __forceinline__ T block_reduce(T mine, Merge merge) {
  __shared__ T warps[kThreads / 32];
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) mine = merge(mine, mine.shuffled(offset));
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
  __syncthreads();
  T total = warps[0];
  for (int i = 1; i < kThreads / 32; ++i) total = merge(total, warps[i]);
  __syncthreads();
  return total;
}

template <class Number>
struct Plain {
  Number value;
  __device__ Plain shuffled(int offset) const { return {__shfl_xor_sync(0xffffffffu, value, offset)}; }
};
__device__ __forceinline__ float block_max(float value) {
  return block_reduce(Plain<float>{value}, [](auto a, auto b) { return Plain<float>{fmaxf(a.value, b.value)}; }).value;
}
template <class Number>
__device__ __forceinline__ Number block_total(Number value) {
  return block_reduce(Plain<Number>{value}, [](auto a, auto b) { return Plain<Number>{a.value + b.value}; }).value;
}

// Weights are probabilities up to a common factor; the largest is 1.
struct Scale {
  float temperature, highest;
  __device__ float scaled(float logit) const { return __fdiv_rn(logit, temperature); }
  __device__ double weight(float value) const {
    return value == highest ? 1.0 : exp(static_cast<double>(value) - static_cast<double>(highest));
  }
};

// RowTokens in ascending order: a whole row, or those of it that were listed.
struct RowTokens {
  const float* logits;  // of a row
  const float* values;  // scaled logits of listed tokens, else null
  const int32_t* ids;
  int count;
  Scale scale;

  __device__ float value(int i) const { return values ? values[i] : scale.scaled(logits[i]); }
  __device__ int id(int i) const { return values ? ids[i] : i; }
};

__device__ int count_from(const RowTokens& tokens, uint32_t lowest) {
  int count = 0;
  for (int i = static_cast<int>(threadIdx.x); i < tokens.count; i += kThreads)
    count += key_of(tokens.value(i)) >= lowest ? 1 : 0;
  return block_total(count);
}

__device__ double weight_from(const RowTokens& tokens, uint32_t lowest) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < tokens.count; i += kThreads) {
    const float value = tokens.value(i);
    if (key_of(value) >= lowest) sum += tokens.scale.weight(value);
  }
  return block_total(sum);
}

// The largest key in [low, high] that holds; low does.
template <class Holds>
__device__ uint32_t last_that_holds(uint32_t low, uint32_t high, Holds holds) {
  while (low < high) {
    const uint32_t middle = low + (high - low + 1) / 2;
    if (holds(middle))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

// The lowest key whose weight is not 0 and not below min_p.
__device__ uint32_t lowest_with_weight(const Scale& scale, float min_p) {
  uint32_t low = kLowestKey, high = key_of(scale.highest);
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const double weight = scale.weight(value_of(middle));
    if (weight > 0 && weight >= static_cast<double>(min_p))
      high = middle;
    else
      low = middle + 1;
  }
  return high;
}

// Copies the tokens at or above a key, in their order. False where they are too many.
__device__ bool list_tokens(const RowTokens& row, uint32_t lowest, float* values, int32_t* ids, int* listed) {
  __shared__ int before[kThreads / 32];
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  int total = 0;
  for (int first = 0; first < row.count; first += kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const float value = i < row.count ? row.value(i) : 0;
    const bool mine = i < row.count && key_of(value) >= lowest;
    const unsigned votes = __ballot_sync(0xffffffffu, mine);
    if (lane == 0) before[warp] = __popc(votes);
    __syncthreads();
    int at = total, all = 0;
    for (int w = 0; w < kThreads / 32; ++w) {
      if (w == warp) at += all;
      all += before[w];
    }
    at += __popc(votes & ((1u << lane) - 1));
    total += all;
    __syncthreads();
    if (total > kMostListed) return false;
    if (mine) {
      values[at] = value;
      ids[at] = i;
    }
  }
  __syncthreads();
  *listed = total;
  return true;
}

// What the filters leave: tokens at or above a key; of those that stand exactly at it, ids up to last_tie.
struct Kept {
  uint32_t lowest;
  int last_tie;
};

__device__ int ties_up_to(const RowTokens& tokens, uint32_t key, int last_id) {
  int count = 0;
  for (int i = static_cast<int>(threadIdx.x); i < tokens.count; i += kThreads)
    count += key_of(tokens.value(i)) == key && tokens.id(i) <= last_id ? 1 : 0;
  return block_total(count);
}

// The likeliest tokens whose weights reach `wanted`; among equals those with lower ids.
__device__ Kept reach(const RowTokens& tokens, uint32_t lowest, double wanted, int vocab_size) {
  const uint32_t highest = key_of(tokens.scale.highest);
  const uint32_t key =
      last_that_holds(lowest, highest, [&](uint32_t from) { return weight_from(tokens, from) >= wanted; });
  const double above = key == highest ? 0 : weight_from(tokens, key + 1);
  const double weight = tokens.scale.weight(value_of(key));
  const int ties = ties_up_to(tokens, key, vocab_size);
  int needed = 1;
  while (needed < ties && above + needed * weight < wanted) ++needed;
  if (needed == ties) return {key, vocab_size};
  int low = 0, high = vocab_size;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (ties_up_to(tokens, key, middle) >= needed)
      high = middle;
    else
      low = middle + 1;
  }
  return {key, high};
}

// One who waits -ln(u) / weight; the first to arrive wins, the lower id where two do.
struct Runner {
  double wait;
  int id;
  float logit;
  __device__ Runner shuffled(int offset) const {
    return {__shfl_xor_sync(0xffffffffu, wait, offset), __shfl_xor_sync(0xffffffffu, id, offset),
            __shfl_xor_sync(0xffffffffu, logit, offset)};
  }
};

__device__ Runner race(const RowTokens& tokens, const Kept& kept, const TokenDraw& draw) {
  Runner best = {INFINITY, 0x7fffffff, 0};
  for (int i = static_cast<int>(threadIdx.x); i < tokens.count; i += kThreads) {
    const float value = tokens.value(i);
    const uint32_t key = key_of(value);
    const int id = tokens.id(i);
    if (key < kept.lowest || (key == kept.lowest && id > kept.last_tie)) continue;
    const uint64_t index = static_cast<uint64_t>(draw.position) << 32 | static_cast<uint32_t>(id);
    const uint64_t bits = philox_bits(draw.seed, static_cast<uint64_t>(draw.sample_index), index);
    const double u = static_cast<double>((bits >> 11) + 1) * 0x1.0p-53, weight = tokens.scale.weight(value);
    if (1 - u >= best.wait * weight) continue;  // -ln(u) >= 1 - u: too late, whatever the logarithm
    const double wait = -log(u) / weight;
    if (wait < best.wait) best = {wait, id, tokens.logits[id]};
  }
  return block_reduce(best, [](const Runner& a, const Runner& b) {
    return b.wait < a.wait || (b.wait == a.wait && b.id < a.id) ? b : a;
  });
}

// A row a block.
__global__ void __launch_bounds__(kThreads) draw_rows(DrawTokens work) {
  begin_kernel();
  __shared__ float values[kMostListed];
  __shared__ int32_t ids[kMostListed];
  const int64_t row_index = work.first_row + blockIdx.x;
  const TokenDraw draw = work.draws[row_index];
  if (!(draw.temperature > 0)) return;
  const int vocab_size = static_cast<int>(work.vocab_size);
  RowTokens row = {work.logits + blockIdx.x * work.ld, nullptr, nullptr, vocab_size, {draw.temperature, 0}};
  float highest = -INFINITY;
  for (int i = static_cast<int>(threadIdx.x); i < vocab_size; i += kThreads) highest = fmaxf(highest, row.logits[i]);
  row.scale.highest = row.scale.scaled(block_max(highest));
  if (!isfinite(row.scale.highest)) return;  // read_logits reports such a row

  Kept kept = {lowest_with_weight(row.scale, draw.min_p), vocab_size};
  RowTokens listed = row;
  if (draw.top_k > 0 || draw.top_p < 1) {
    const uint32_t listed_from = max(kept.lowest, key_of(row.scale.highest - kListedBelow));
    int count = 0;
    const bool has_list = list_tokens(row, listed_from, values, ids, &count);
    if (has_list) listed = {row.logits, values, ids, count, row.scale};
    double total = draw.top_p < 1 ? weight_from(row, kept.lowest) : 0;
    if (draw.top_k > 0 && draw.top_k < count_from(row, kept.lowest)) {
      const RowTokens& from = has_list && count >= draw.top_k ? listed : row;
      kept.lowest = last_that_holds(kept.lowest, key_of(row.scale.highest),
                                    [&](uint32_t key) { return count_from(from, key) >= draw.top_k; });
      if (draw.top_p < 1) total = weight_from(row, kept.lowest);
    }
    if (draw.top_p < 1) {
      const double wanted = static_cast<double>(draw.top_p) * total;
      const bool enough = has_list && weight_from(listed, kept.lowest) >= wanted;
      kept = reach(enough ? listed : row, kept.lowest, wanted, vocab_size);
    }
    if (!has_list || kept.lowest < listed_from) listed = row;
  }
  const Runner winner = race(listed, kept, draw);
  if (threadIdx.x == 0) work.drawn[row_index] = {winner.id, winner.logit};
}

}  // namespace

Status draw_tokens(const DrawTokens& work, const Queue& queue) {
  if (work.rows == 0) return ok_status();
  ASSAY_CUDA(queue_kernel(draw_rows, dim3(static_cast<unsigned>(work.rows)), kThreads, 0, queue, work));
  return check_launch("draw_tokens", queue.stream);
}

}  // namespace assay::cuda
