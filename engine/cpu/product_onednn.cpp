#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/rng.h"
#include "engine/cpu/product.h"

namespace assay::cpu {
namespace {

constexpr int64_t kPairColumns = 2 * kStripColumns;
constexpr int64_t kRowCounts[] = {128, 32, 8, 1};
constexpr int64_t kMostRows = kRowCounts[0];
// Rows that reuse an expanded pair of strips: enough to repay the expansion, few enough to balance two threads.
constexpr int64_t kBlockRows = 256;

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// [rows, k] x [k, 64] -> [rows, 64], all float32, on the calling thread.
struct Matmul {
  int64_t rows = 0;
  dnnl::memory::desc x, weights, sums, scratchpad;
  dnnl::matmul primitive;
};

Matmul make_matmul(int64_t rows, int64_t k) {
  using dnnl::memory;
  Matmul matmul;
  matmul.rows = rows;
  matmul.x = memory::desc({rows, k}, memory::data_type::f32, memory::dims{k, 1});
  // For 64 columns the library's blocks of 16 k and 64 columns are plain rows of 64, which it then need not copy.
  matmul.weights = memory::desc({k, kPairColumns}, memory::data_type::f32, memory::dims{kPairColumns, 1});
  matmul.sums = memory::desc({rows, kPairColumns}, memory::data_type::f32, memory::dims{kPairColumns, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::primitive_desc description({matmul.x, matmul.weights, matmul.sums}, attributes, cpu_engine());
  matmul.scratchpad = description.scratchpad_desc();
  matmul.primitive = dnnl::matmul(description);
  return matmul;
}

void execute(const Matmul& matmul, const float* x, const float* weights, float* sums, std::byte* scratchpad) {
  const auto memory = [](const dnnl::memory::desc& description, const void* data) {
    return dnnl::memory(description, cpu_engine(), const_cast<void*>(data));
  };
  thread_local dnnl::stream stream(cpu_engine());
  matmul.primitive.execute(stream, {{DNNL_ARG_SRC, memory(matmul.x, x)},
                                    {DNNL_ARG_WEIGHTS, memory(matmul.weights, weights)},
                                    {DNNL_ARG_DST, memory(matmul.sums, sums)},
                                    {DNNL_ARG_SCRATCHPAD, memory(matmul.scratchpad, scratchpad)}});
  stream.wait();
}

// One k's primitives for several numbers of rows, most rows first; all give a row the same bits.
struct MatmulFamily {
  std::vector<Matmul> members;
  int64_t scratchpad_bytes = 0;

  // The member that takes `rows` with the fewest rows wasted, or the largest.
  const Matmul& for_rows(int64_t rows) const {
    size_t chosen = 0;
    while (chosen + 1 < members.size() && members[chosen + 1].rows >= rows) ++chosen;
    return members[chosen];
  }
};

std::vector<float> random_floats(int64_t count, uint64_t stream) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(random_unit(1, stream, i) - 0.5);
  return values;
}

// Keeps the members whose rows come out as those of the largest do; if even the largest one's rows depend on their
// place, only single rows are left.
void keep_equal_members(MatmulFamily& family, int64_t k) {
  const std::vector<float> x = random_floats(2 * kMostRows * k, 1), weights = random_floats(k * kPairColumns, 2);
  std::vector<std::byte> scratchpad(static_cast<size_t>(family.scratchpad_bytes) + 64);
  const size_t row_bytes = kPairColumns * sizeof(float);
  const auto product = [&](const Matmul& matmul, int64_t first_row) {
    std::vector<float> sums(static_cast<size_t>(matmul.rows * kPairColumns));
    execute(matmul, x.data() + first_row * k, weights.data(), sums.data(), scratchpad.data());
    return sums;
  };
  const std::vector<float> expected = product(family.members.front(), 0);
  const std::vector<float> shifted = product(family.members.front(), 5);
  if (std::memcmp(expected.data() + 5 * kPairColumns, shifted.data(), (kMostRows - 5) * row_bytes) != 0) {
    family.members.erase(family.members.begin(), family.members.end() - 1);
    return;
  }
  std::erase_if(family.members, [&](const Matmul& matmul) {
    return std::memcmp(product(matmul, 0).data(), expected.data(), static_cast<size_t>(matmul.rows) * row_bytes) != 0;
  });
}

MatmulFamily make_family(int64_t k) {
  MatmulFamily family;
  for (const int64_t rows : kRowCounts) {
    family.members.push_back(make_matmul(rows, k));
    family.scratchpad_bytes =
        std::max(family.scratchpad_bytes, static_cast<int64_t>(family.members.back().scratchpad.get_size()));
  }
  keep_equal_members(family, k);
  return family;
}

// Keeps this thread's parallel regions to one thread while it lives.
class SingleThread {
 public:
  SingleThread() : threads_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~SingleThread() { omp_set_num_threads(threads_); }
  SingleThread(const SingleThread&) = delete;
  SingleThread& operator=(const SingleThread&) = delete;

 private:
  int threads_;
};

// Layers share shapes, so families are made once for the process. Primitives are made for one thread: workers call them
// from inside a parallel region, where the library does not open another.
const MatmulFamily& family_for(int64_t k) {
  static std::mutex mutex;
  static std::map<int64_t, MatmulFamily> families;
  const std::lock_guard lock(mutex);
  const auto found = families.find(k);
  if (found != families.end()) return found->second;
  const SingleThread single_thread;
  return families.emplace(k, make_family(k)).first->second;
}

class FloatProduct final : public Product {
 public:
  FloatProduct(PackedMatrix matrix, const Kernels& kernels, const MatmulFamily& family)
      : Product(std::move(matrix)), kernels_(kernels), family_(family) {}

  int64_t scratch_bytes() const override {
    return weights_bytes() + kMostRows * kPairColumns * static_cast<int64_t>(sizeof(float)) + family_.scratchpad_bytes;
  }

  void run(Worker& worker, const void* x, int64_t ld, int64_t rows, const Epilogue& epilogue) const override {
    ASSAY_CHECK_EQ(ld, matrix_.k_padded);
    const auto* from = static_cast<const float*>(x);
    const int64_t pairs = (matrix_.num_strips + 1) / 2, blocks = (rows + kBlockRows - 1) / kBlockRows;
    int64_t expanded = -1;  // the pair in this worker's scratch
    worker.for_each(pairs * blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t pair = i / blocks, first = i % blocks * kBlockRows;
        if (pair != expanded) expand(worker, pair);
        expanded = pair;
        multiply(worker, from, first, std::min(rows, first + kBlockRows), pair, epilogue);
      }
    });
  }

 private:
  int64_t weights_bytes() const { return matrix_.k_padded * kPairColumns * static_cast<int64_t>(sizeof(float)); }

  void expand(const Worker& worker, int64_t pair) const {
    auto* weights = reinterpret_cast<float*>(worker.scratch());
    for (int64_t half = 0; half < strips_of(pair); ++half) {
      kernels_.expand_strip(matrix_, 2 * pair + half, weights + half * kStripColumns, kPairColumns);
    }
  }
  int64_t strips_of(int64_t pair) const { return std::min<int64_t>(2, matrix_.num_strips - 2 * pair); }

  void multiply(Worker& worker, const float* x, int64_t begin, int64_t end, int64_t pair,
                const Epilogue& epilogue) const {
    const auto* weights = reinterpret_cast<const float*>(worker.scratch());
    auto* sums = reinterpret_cast<float*>(worker.scratch() + weights_bytes());
    std::byte* scratchpad = reinterpret_cast<std::byte*>(sums + kMostRows * kPairColumns);
    for (int64_t row = begin; row < end;) {
      const Matmul& matmul = family_.for_rows(end - row);
      try {
        execute(matmul, x + row * matrix_.k_padded, weights, sums, scratchpad);
      } catch (const dnnl::error& error) {
        return worker.fail(fmt::format("oneDNN product of {} rows: {}", matmul.rows, error.what()));
      }
      const int64_t rows = std::min(matmul.rows, end - row);
      for (int64_t half = 0; half < strips_of(pair); ++half) {
        kernels_.finish(epilogue, row, rows, 2 * pair + half, sums + half * kStripColumns, kPairColumns);
      }
      row += rows;
    }
  }

  const Kernels& kernels_;
  const MatmulFamily& family_;
};

}  // namespace

Result<std::unique_ptr<Product>> make_float_product(PackedMatrix matrix, const Kernels& kernels) {
  try {
    const MatmulFamily& family = family_for(matrix.k_padded);
    return std::unique_ptr<Product>(std::make_unique<FloatProduct>(std::move(matrix), kernels, family));
  } catch (const dnnl::error& error) {
    return internal_error(
        fmt::format("oneDNN cannot make a float32 product of depth {}: {}", matrix.k_padded, error.what()));
  }
}

std::string onednn_version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", version->major, version->minor, version->patch);
}

}  // namespace assay::cpu
