#include "engine/cuda/linear.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/cuda/blas.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/w4a16.h"

namespace assay::cuda {
namespace {

int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

// Hands out pieces of a workspace, one behind the other.
class Scratch {
 public:
  explicit Scratch(const Workspace& workspace) : workspace_(workspace) {}
  void* take(int64_t bytes) {
    ASSAY_CHECK_LE(used_ + aligned(bytes), workspace_.bytes);
    void* piece = static_cast<std::byte*>(workspace_.data) + used_;
    used_ += aligned(bytes);
    return piece;
  }

 private:
  const Workspace& workspace_;
  int64_t used_ = 0;
};

void note(const Workspace& workspace, const char* name) {
  if (!workspace.ran) return;
  if (!workspace.ran->empty()) *workspace.ran += " + ";
  *workspace.ran += name;
}

BlasShape shape_of(int64_t n, int64_t k, Epilogue::Kind kind) {
  return {n, k, kind != Epilogue::Kind::store, kind == Epilogue::Kind::add};
}

// A product of dense matrices without bias; every kind but swiglu.
Status multiply(Element element, const void* x, const void* w, int64_t m, int64_t n, int64_t k,
                const Epilogue& epilogue, const Workspace& workspace, cudaStream_t stream) {
  const BlasShape shape = shape_of(n, k, epilogue.kind);
  if (element == Element::bf16 && workspace.blas && workspace.blas->is_prepared(shape)) {
    note(workspace, "cublasLt");
    return workspace.blas->multiply(shape, x, w, m, epilogue.out, epilogue.ld, stream);
  }
  note(workspace, element == Element::bf16 ? "multiply_bf16" : "multiply_f32");
  return multiply_own(element, x, w, m, n, k, epilogue, stream);
}

// The weight as a dense matrix: as it lies, or made in scratch.
Status dense_weight(const Linear& linear, Scratch& scratch, const Workspace& workspace, cudaStream_t stream,
                    const void** w) {
  if (const auto* dense = std::get_if<DenseWeight>(&linear.weight)) {
    *w = dense->data.data();
    return ok_status();
  }
  void* made = scratch.take(linear.n * linear.k * element_bytes(linear.element));
  *w = made;
  note(workspace, "dequantize");
  if (const auto* int4 = std::get_if<Int4Weight>(&linear.weight))
    return dequantize_int4(linear.element, *int4, linear.k, 0, linear.n, made, stream);
  ASSAY_CHECK(linear.packed.has_value() && linear.element == Element::bf16);
  return dequantize_w4(*linear.packed, made, stream);
}

PlanOptions plan_options(int num_sms, bool overlap) {
  PlanOptions options;
  options.num_sms = num_sms;
  options.overlap = overlap;
  return options;
}

W4Epilogue::Kind w4_kind(Epilogue::Kind kind) {
  switch (kind) {
    case Epilogue::Kind::store: return W4Epilogue::Kind::store;
    case Epilogue::Kind::add: return W4Epilogue::Kind::add;
    case Epilogue::Kind::swiglu: return W4Epilogue::Kind::swiglu;
    case Epilogue::Kind::float32: break;
  }
  return W4Epilogue::Kind::float32;
}

Status multiply_packed(const Linear& linear, const void* x, int64_t m, const Epilogue& epilogue,
                       const Workspace& workspace, cudaStream_t stream) {
  const W4Weight& w = *linear.packed;
  const LaunchPlan plan = plan_w4a16(m, w.shape, plan_options(workspace.num_sms, workspace.overlap));
  const W4Epilogue how{w4_kind(epilogue.kind), epilogue.out, epilogue.ld, w.bias.as<float>()};
  std::string ran;
  ASSAY_TRY(w4a16_matmul({w.shape, w.blocks.data()}, static_cast<const __nv_bfloat16*>(x), linear.k, m, how, plan,
                         workspace.w4, stream, workspace.ran ? &ran : nullptr));
  note(workspace, ran.c_str());
  return ok_status();
}

int64_t out_element_bytes(Element element, Epilogue::Kind kind) {
  return kind == Epilogue::Kind::add || kind == Epilogue::Kind::float32 ? 4 : element_bytes(element);
}

// Kind of the product proper; what differs from it is done to its results.
Epilogue::Kind product_kind(const Linear& linear, Epilogue::Kind kind) {
  if (!linear.bias.empty()) return Epilogue::Kind::float32;
  return kind == Epilogue::Kind::swiglu ? Epilogue::Kind::store : kind;
}

Status multiply_and_finish(const Linear& linear, const void* x, const void* w, int64_t m, const Epilogue& epilogue,
                           Scratch& scratch, const Workspace& workspace, cudaStream_t stream) {
  const Epilogue::Kind kind = product_kind(linear, epilogue.kind);
  if (kind == epilogue.kind && linear.bias.empty())
    return multiply(linear.element, x, w, m, linear.n, linear.k, epilogue, workspace, stream);
  Epilogue sums{kind, nullptr, linear.n};
  sums.out = scratch.take(m * linear.n * (kind == Epilogue::Kind::float32 ? 4 : element_bytes(linear.element)));
  ASSAY_TRY(multiply(linear.element, x, w, m, linear.n, linear.k, sums, workspace, stream));
  const void* gate_up = sums.out;
  if (!linear.bias.empty()) {
    Epilogue finished = epilogue;
    if (epilogue.kind == Epilogue::Kind::swiglu) {
      finished = {Epilogue::Kind::store, scratch.take(m * linear.n * element_bytes(linear.element)), linear.n};
      gate_up = finished.out;
    }
    note(workspace, "bias");
    ASSAY_TRY(finish_product(linear.element, static_cast<const float*>(sums.out), linear.bias.as<float>(), m, linear.n,
                             finished, stream));
  }
  if (epilogue.kind != Epilogue::Kind::swiglu) return ok_status();
  note(workspace, "swiglu");
  return swiglu(linear.element, gate_up, m, linear.n / 2, epilogue.out, epilogue.ld, stream);
}

}  // namespace

int64_t linear_workspace_bytes(const Linear& linear, int64_t max_rows) {
  int64_t bytes = aligned(max_rows * linear.n * element_bytes(linear.element));
  if (!linear.bias.empty()) bytes += aligned(max_rows * linear.n * 4);
  if (!linear.is_dense()) bytes += aligned(linear.n * linear.k * element_bytes(linear.element));
  return bytes;
}

int64_t w4_workspace_bytes(const Linear& linear, int64_t max_rows, int num_sms) {
  int64_t bytes = 0;
  if (!linear.packed) return bytes;
  for (int64_t m = 1; m <= max_rows; ++m) {
    const W4Shape& shape = linear.packed->shape;
    bytes = std::max(bytes, w4a16_workspace_bytes(shape, m, plan_w4a16(m, shape, plan_options(num_sms, false))));
  }
  return bytes;
}

Status linear_forward(const Linear& linear, const void* x, int64_t m, const Epilogue& epilogue,
                      const Workspace& workspace, cudaStream_t stream) {
  return linear_forward_split(linear, x, 0, m, epilogue, workspace, stream);
}

Status linear_forward_split(const Linear& linear, const void* x, int64_t num_generated, int64_t m,
                            const Epilogue& epilogue, const Workspace& workspace, cudaStream_t stream) {
  if (workspace.ran) workspace.ran->clear();
  const bool served = linear.packed && linear.packed->interleaved == (epilogue.kind == Epilogue::Kind::swiglu);
  const int64_t first = served ? num_generated : 0;
  if (first > 0) ASSAY_TRY(multiply_packed(linear, x, first, epilogue, workspace, stream));
  if (first == m) return ok_status();
  const auto* given = static_cast<const std::byte*>(x) + first * linear.k * element_bytes(linear.element);
  Epilogue rest = epilogue;
  rest.out = static_cast<std::byte*>(rest.out) + first * rest.ld * out_element_bytes(linear.element, rest.kind);
  Scratch scratch(workspace);
  const void* w = nullptr;
  ASSAY_TRY(dense_weight(linear, scratch, workspace, stream, &w));
  return multiply_and_finish(linear, given, w, m - first, rest, scratch, workspace, stream);
}

Status prepare_linear(const Linear& linear, Epilogue::Kind kind, const Workspace& workspace, cudaStream_t stream) {
  if (linear.element != Element::bf16 || !workspace.blas) return ok_status();
  const BlasShape shape = shape_of(linear.n, linear.k, product_kind(linear, kind));
  if (workspace.blas->is_prepared(shape)) return ok_status();
  Scratch scratch(workspace);
  const void* w = nullptr;
  ASSAY_TRY(dense_weight(linear, scratch, workspace, stream, &w));
  return workspace.blas->prepare(shape, w, stream);
}

}  // namespace assay::cuda
