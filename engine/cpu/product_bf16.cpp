#include "engine/cpu/product.h"

#include <immintrin.h>

#include <utility>

#include "engine/base/check.h"

#define ASSAY_ISA avx512_bf16
#define ASSAY_SIMD_LEVEL 4
#pragma GCC push_options
// The pragma reaches this part of the file only: headers above it keep the build's own target.
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#include "engine/cpu/ops_body.h"
#include "engine/cpu/w4a16_body.h"

namespace assay::cpu::avx512_bf16 {
namespace {

// Rows that share a pass over a strip: 24 sums, two weight vectors and a broadcast fill the 32 registers.
// Tuned by bench_cpu_kernels.
constexpr int kMaxTileRows = 12;

// Rows x one strip of bf16 weights.
template <int Rows>
void multiply_tile(const uint16_t* x, int64_t ld, const uint16_t* weights, int64_t k, float* sums) {
  __m512 acc[Rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) acc[r][0] = acc[r][1] = _mm512_setzero_ps();
#pragma GCC unroll 2
  for (int64_t pair = 0; pair < k / 2; ++pair) {
    const auto low = (__m512bh)_mm512_loadu_si512(weights + pair * 64);
    const auto high = (__m512bh)_mm512_loadu_si512(weights + pair * 64 + 32);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const __m512bh both = broadcast_pair(x + r * ld + 2 * pair);
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], both, low);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], both, high);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    _mm512_store_ps(sums + r * kStripColumns, acc[r][0]);
    _mm512_store_ps(sums + r * kStripColumns + kLanes, acc[r][1]);
  }
}

using MultiplyTile = void (*)(const uint16_t*, int64_t, const uint16_t*, int64_t, float*);
constexpr MultiplyTile kMultiply[kMaxTileRows + 1] = {
    nullptr,           multiply_tile<1>,  multiply_tile<2>, multiply_tile<3>, multiply_tile<4>,
    multiply_tile<5>,  multiply_tile<6>,  multiply_tile<7>, multiply_tile<8>, multiply_tile<9>,
    multiply_tile<10>, multiply_tile<11>, multiply_tile<12>};

// Rows [begin, end) x one strip, in tiles of nearly equal height.
void multiply_rows(const uint16_t* x, int64_t ld, int64_t begin, int64_t end, const uint16_t* weights, int64_t k,
                   int64_t strip, const Epilogue& epilogue) {
  alignas(64) float sums[kMaxTileRows * kStripColumns];
  while (begin < end) {
    const int64_t tiles = (end - begin + kMaxTileRows - 1) / kMaxTileRows;
    const int64_t rows = (end - begin + tiles - 1) / tiles;
    kMultiply[rows](x + begin * ld, ld, weights, k, sums);
    finish_rows<Bf16Storage>(epilogue, begin, rows, strip, sums, kStripColumns);
    begin += rows;
  }
}

void multiply_few_int4(const PackedMatrix& matrix, int64_t strip, const uint16_t* x, int64_t ld, int64_t rows,
                       const Epilogue& epilogue) {
  alignas(64) float sums[kFusedRows * kStripColumns];
  switch (rows) {
    case 1: multiply_int4_strip<1>(matrix, strip, x, ld, sums); break;
    case 2: multiply_int4_strip<2>(matrix, strip, x, ld, sums); break;
    case 3: multiply_int4_strip<3>(matrix, strip, x, ld, sums); break;
    default: multiply_int4_strip<4>(matrix, strip, x, ld, sums); break;
  }
  finish_rows<Bf16Storage>(epilogue, 0, rows, strip, sums, kStripColumns);
}

}  // namespace
}  // namespace assay::cpu::avx512_bf16
#pragma GCC pop_options

namespace assay::cpu {
namespace {

// Rows of one piece of work: enough to repay unpacking a strip, few enough to balance two threads.
constexpr int64_t kBlockRows = 132;

class Bf16Product final : public Product {
 public:
  explicit Bf16Product(PackedMatrix matrix) : Product(std::move(matrix)) {}

  int64_t scratch_bytes() const override {
    return matrix_.format == PackedMatrix::Format::int4 ? matrix_.k_padded * kStripColumns * 2 : 0;
  }

  void run(Worker& worker, const void* x, int64_t ld, int64_t rows, const Epilogue& epilogue) const override {
    const auto* from = static_cast<const uint16_t*>(x);
    if (matrix_.format == PackedMatrix::Format::int4 && rows <= avx512_bf16::kFusedRows) {
      const int64_t piece = std::max<int64_t>(1, matrix_.num_strips / (worker.count() * 16));
      worker.for_each(matrix_.num_strips, piece, [&](int64_t begin, int64_t end) {
        for (int64_t strip = begin; strip < end; ++strip) {
          avx512_bf16::multiply_few_int4(matrix_, strip, from, ld, rows, epilogue);
        }
      });
      return;
    }
    const int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const int64_t block_rows = ((rows + blocks - 1) / blocks + 11) / 12 * 12;
    const int64_t piece = blocks > 1 ? 1 : std::max<int64_t>(1, matrix_.num_strips / (worker.count() * 16));
    int64_t unpacked = -1;  // the strip in this worker's scratch
    worker.for_each(matrix_.num_strips * blocks, piece, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t strip = i / blocks, first = i % blocks * block_rows;
        avx512_bf16::multiply_rows(from, ld, first, std::min(rows, first + block_rows),
                                   strip_weights(worker, strip, unpacked), matrix_.k_padded, strip, epilogue);
      }
    });
  }

 private:
  const uint16_t* strip_weights(const Worker& worker, int64_t strip, int64_t& unpacked) const {
    if (matrix_.format == PackedMatrix::Format::bf16) {
      return matrix_.weights.as<uint16_t>() + strip * matrix_.k_padded * kStripColumns;
    }
    auto* scratch = reinterpret_cast<uint16_t*>(worker.scratch());
    if (strip != unpacked) avx512_bf16::unpack_int4_strip(matrix_, strip, scratch);
    unpacked = strip;
    return scratch;
  }
};

}  // namespace

std::unique_ptr<Product> make_bf16_product(PackedMatrix matrix) {
  ASSAY_CHECK(best_instruction_set() == InstructionSet::avx512_bf16);
  ASSAY_CHECK(matrix.format != PackedMatrix::Format::f32);
  return std::make_unique<Bf16Product>(std::move(matrix));
}

}  // namespace assay::cpu
