#include "bench/matmul_rate.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <dnnl.hpp>
#include <limits>
#include <vector>

#include "engine/base/rng.h"

namespace assay {
namespace {

using Type = dnnl::memory::data_type;
using Tag = dnnl::memory::format_tag;

// Random values of one magnitude: products of zeros or of tiny numbers can run at another speed.
dnnl::memory random_matrix(const dnnl::engine& engine, dnnl::stream& stream, const dnnl::memory::desc& wanted,
                           const dnnl::memory::dims& shape, uint64_t seed) {
  dnnl::memory plain({shape, Type::f32, Tag::ab}, engine);
  auto* values = static_cast<float*>(plain.get_data_handle());
  const auto count = static_cast<uint64_t>(shape[0] * shape[1]);
  for (uint64_t i = 0; i < count; ++i) values[i] = static_cast<float>(2 * random_unit(seed, 0, i) - 1);
  dnnl::memory matrix(wanted, engine);
  dnnl::reorder(plain, matrix).execute(stream, plain, matrix);
  stream.wait();
  return matrix;
}

double best_seconds(const dnnl::engine& engine, Type type, int64_t m, int64_t k, int64_t n) {
  const dnnl::memory::desc x_desc({m, k}, type, Tag::ab), w_desc({k, n}, type, Tag::any), y_desc({m, n}, type, Tag::ab);
  const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(x_desc, w_desc, y_desc), engine);
  dnnl::stream stream(engine);
  const dnnl::memory x = random_matrix(engine, stream, plan.src_desc(), {m, k}, 1);
  const dnnl::memory w = random_matrix(engine, stream, plan.weights_desc(), {k, n}, 2);
  const dnnl::memory y(plan.dst_desc(), engine);
  const dnnl::matmul product(plan);
  constexpr int kRepeats = 10, kProducts = 16;
  double best = std::numeric_limits<double>::infinity();
  for (int repeat = 0; repeat <= kRepeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kProducts; ++i) {
      product.execute(stream, {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DST, y}});
    }
    stream.wait();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    best = std::min(best, elapsed.count() / kProducts);
  }
  return best;
}

}  // namespace

Result<double> measure_matmul_flops_per_s(int num_threads, int64_t rows, int64_t columns_in, int64_t columns_out) {
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(columns_in) * static_cast<double>(columns_out);
  omp_set_num_threads(num_threads);
  Status failure;
  for (const Type type : {Type::bf16, Type::f32}) {
    try {
      const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
      return flops / best_seconds(engine, type, rows, columns_in, columns_out);
    } catch (const dnnl::error& error) {
      failure = internal_error(fmt::format("matmul rate: oneDNN: {}", error.what()));
    }
  }
  return failure;
}

}  // namespace assay
