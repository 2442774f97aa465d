#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/base/status.h"
#include "engine/cuda/batch_plan.h"
#include "engine/cuda/linear.h"
#include "engine/cuda/logit_parts.h"

// The launches of engine/cuda/kernels, one operation each. All queue on the given stream and return at once; errors are
// launch failures. Pointers are device pointers unless said otherwise, 16-byte aligned; "T" is the element named by the
// `element` argument. No result depends on how many rows a launch has.
namespace assay::cuda {

// Where a kernel is queued. With `overlap` its blocks may start while the kernel before drains; until that one has
// ended they read only what no kernel of the run writes (begin_kernel in kernels/common.cuh), and write nothing.
struct Queue {
  cudaStream_t stream = nullptr;
  bool overlap = false;

  Queue(cudaStream_t on, bool overlapped = false) : stream(on), overlap(overlapped) {}  // NOLINT: a stream is a queue
};

// out[row] = table[tokens[row]], table [vocab_size, width] of T, out float [rows, width]. width is a multiple of 8.
Status embed(Element element, const void* table, const int32_t* tokens, int64_t rows, int64_t width, float* out,
             const Queue& queue);

// out[row] = x[row] / rms(x[row]) * weight, x float [rows, width], weight float [width], out T [rows, width].
// width is a multiple of 8.
Status rms_norm(Element element, const float* x, const float* weight, int64_t rows, int64_t width, float eps, void* out,
                const Queue& queue);

// out[i] = x[rows_wanted[i]], float [count, width]. width is a multiple of 4.
Status gather_rows(const float* x, const int32_t* rows_wanted, int64_t count, int64_t width, float* out,
                   cudaStream_t stream);

// The KV cache of one layer: T [num_blocks, num_kv_heads, 2, 16, head_dim], keys before values.
struct KvLayer {
  void* data = nullptr;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
};

// Turns queries (in place) and keys to their positions and stores keys and values in every slot that wants them.
//   qkv  T [rows, ld]: num_heads queries, num_kv_heads keys, as many values, head_dim each
//   cos, sin  float [positions, head_dim / 2]
//   first_write [rows + 1], write_slots: slots block * 16 + slot of row r are write_slots[first_write[r] ...]
// head_dim is a multiple of 16.
struct RopeKvWrite {
  void* qkv = nullptr;
  int64_t ld = 0;
  int64_t rows = 0;
  int32_t num_heads = 0;
  const int32_t* positions = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  const int32_t* first_write = nullptr;
  const int32_t* write_slots = nullptr;
  KvLayer cache;
};
Status rope_kv_write(Element element, const RopeKvWrite& work, const Queue& queue);

// Copies the first slots of blocks, one copy after the other, in all layers.
//   copies  [count, 3]: from, to, number of slots
Status copy_kv_blocks(Element element, const KvLayer& first_layer, int64_t num_layers, int64_t layer_stride_bytes,
                      const int32_t* copies, int64_t count, cudaStream_t stream);

// out[row, i] = round(silu(gate_up[row, i]) * gate_up[row, width + i]), T; silu and product in float.
// width is a multiple of 8.
Status swiglu(Element element, const void* gate_up, int64_t rows, int64_t width, void* out, int64_t out_ld,
              cudaStream_t stream);

// Adds a bias to float32 sums [rows, n] and does what `epilogue` says with them (every kind but swiglu).
Status finish_product(Element element, const float* sums, const float* bias, int64_t rows, int64_t n,
                      const Epilogue& epilogue, cudaStream_t stream);

// Rows [first_row, first_row + count) of W as T [count, k] (float holds the values rounded to bf16).
Status dequantize_int4(Element element, const Int4Weight& weight, int64_t k, int64_t first_row, int64_t count,
                       void* out, cudaStream_t stream);

// The whole matrix as bf16 [n, k], rows in the checkpoint's order: the bits of dequantize_int4.
Status dequantize_w4(const W4Weight& weight, void* out, cudaStream_t stream);

// out = x W^T by own kernels: float32 sums over k in ascending order, whatever m is.
//   x T [m, k], w T [n, k]; kinds store, add and float32 without bias. k is a multiple of 8.
Status multiply_own(Element element, const void* x, const void* w, int64_t m, int64_t n, int64_t k,
                    const Epilogue& epilogue, cudaStream_t stream);

// Random values between -1 and 1, the same every time.
Status fill_random_bf16(void* out, int64_t count, cudaStream_t stream);

// Sets *differences to 0 when two runs of 16-bit words are equal, to more otherwise.
Status count_differences(const void* a, const void* b, int64_t bytes, int32_t* differences, cudaStream_t stream);

// ---- attention -----------------------------------------------------------------------------------------------------

// Softmax attention over paged keys. Keys lie in splits of kSplitKeys positions, splits in groups of kGroupKeys; a
// row's arithmetic follows positions only: group after group inside a split from an empty state, then split after split
// into the row's total. An item may take all splits of its rows (direct) or some of them (partial sums, combined by
// combine_attention in the same order with the same operations), so both have the same bits.
struct AttentionWork {
  const void* query = nullptr;  // T [rows, query_ld], heads side by side
  int64_t query_ld = 0;
  void* out = nullptr;  // T [out rows, out_ld]
  int64_t out_ld = 0;
  KvLayer cache;
  int32_t num_heads = 0;
  int32_t window = 0;  // positions in sight, own included; 0: all
  float scale = 0;
  const int32_t* block_tables = nullptr;
  const AttentionItem* items = nullptr;
  int32_t num_items = 0;
  AttentionShape shape = AttentionShape::simple;
  float* partials = nullptr;  // see combine_attention
};
// The kernel that takes this head size and element: mma for bf16 with head_dim 64 or 128, simple for the others.
bool has_mma_attention(Element element, int64_t head_dim);
Status attend(Element element, const AttentionWork& work, const Queue& queue);

// Merges partial sums into rows of out.
//   partials  float [slots, num_heads, head_dim + 2]: unnormalized sums, the largest score, the sum of weights
//   items  rows to merge: slots first_slot + s, s in [0, num_splits), belong to row out_row
Status combine_attention(Element element, const float* partials, const CombineItem* items, int64_t count,
                         int32_t num_heads, int32_t head_dim, void* out, int64_t out_ld, const Queue& queue);

// ---- output head ---------------------------------------------------------------------------------------------------

// Reads whole rows of logits, a chunk of the vocabulary after the other.
struct ReadLogits {
  const float* logits = nullptr;  // [rows, ld]
  int64_t ld = 0;
  int64_t rows = 0;
  int64_t first_row = 0;  // of the rows that the pointers below count
  int64_t vocab_size = 0;
  int64_t chunk_tokens = 0;               // num_chunks = ceil(vocab_size / chunk_tokens)
  ChunkStats* stats = nullptr;            // [all rows, num_chunks]
  const int32_t* first_target = nullptr;  // [all rows + 1]
  const int32_t* targets = nullptr;
  float* target_logits = nullptr;     // one a target
  const int32_t* num_top = nullptr;   // [all rows], at most max_top
  int32_t max_top = 0;                // 0: nobody asks
  TopEntry* top = nullptr;            // [all rows, num_chunks, max_top]; entries beyond num_top are not written
  const int32_t* kept_row = nullptr;  // [all rows]: row of `kept` that the logits are copied to, or -1
  float* kept = nullptr;              // [kept rows, vocab_size]
};
Status read_logits(const ReadLogits& work, const Queue& queue);

// Draws a token from each row that asks for one: what draw_token (engine/runtime/token_sampler.h) takes, but that sums
// of probabilities are added in another order. Rows with a temperature of 0 are left alone.
struct DrawTokens {
  const float* logits = nullptr;  // [rows, ld]
  int64_t ld = 0;
  int64_t rows = 0;
  int64_t first_row = 0;  // of the rows that the pointers below count
  int64_t vocab_size = 0;
  const TokenDraw* draws = nullptr;  // [all rows]
  DrawnToken* drawn = nullptr;       // [all rows]
};
Status draw_tokens(const DrawTokens& work, const Queue& queue);

// The token of each request: the drawn one where the request draws, else the most likely one.
struct ChooseTokens {
  const ChunkStats* stats = nullptr;  // [rows, num_chunks]
  int32_t num_chunks = 0;
  const TokenDraw* draws = nullptr;  // [rows], or none
  const DrawnToken* drawn = nullptr;
  int64_t rows = 0, vocab_size = 0;
  int32_t* chosen = nullptr;  // [rows], always inside the vocabulary
};
Status choose_tokens(const ChooseTokens& work, const Queue& queue);

// tokens[row] = chosen[feeds[row]] where feeds[row] is not negative.
Status feed_tokens(const int32_t* feeds, int64_t rows, const int32_t* chosen, int32_t* tokens, const Queue& queue);

}  // namespace assay::cuda
