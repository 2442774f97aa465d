// Products on the device: every form of weight and epilogue against plain loops in double, and a row's bits against
// those of the same row in other company.

#include "engine/cuda/linear.h"

#include <doctest/doctest.h>

#include "engine/cuda/blas.h"
#include "engine/cuda/cuda_model.h"
#include "engine/cuda/kernels.h"
#include "engine/cuda/w4a16.h"
#include "tests/engine/cpu/random_linear.h"
#include "tests/engine/cuda/on_device.h"
#include "tests/support/near.h"
#include "tests/support/reference_ops.h"

using namespace assay;
using namespace assay::cuda;
using namespace assay::cuda::testing;
using namespace assay::testing;
using assay::cpu::testing::RandomLinear;

namespace {

// cuBLASLt if this machine has it.
Blas* library() {
  static const std::unique_ptr<Blas> blas = [] {
    auto opened = Blas::open();
    if (!opened.ok()) MESSAGE("cuBLASLt is not tested: " << opened.status().message());
    return opened.ok() ? std::move(*opened) : nullptr;
  }();
  return blas.get();
}

// A layer on the device and what is needed to multiply with it.
struct Stage {
  Linear linear;
  DeviceBuffer scratch, zeros;
  std::string ran;
  Workspace workspace;

  Stage(const std::vector<const LinearWeight*>& parts, const ModelForm& form, Blas* blas, int64_t max_rows,
        bool gate_up = false) {
    Uploader uploader = Uploader::create().value();
    auto loaded = load_linear(parts, form, uploader, gate_up);
    REQUIRE_MESSAGE(loaded.ok(), loaded.status().message());
    linear = std::move(*loaded);
    done(uploader.finish());
    scratch = DeviceBuffer::allocate(linear_workspace_bytes(linear, max_rows), "a test").value();
    zeros = to_device(std::vector<uint8_t>(sz(w4_workspace_bytes(linear, max_rows, 132))));
    done(w4a16_prepare());
    workspace = {scratch.data(), scratch.bytes(), blas, &ran, zeros.data()};
  }

  // Rows [first, first + m) of x through the layer, the first num_generated of those as generated ones; `before` is
  // what an add adds to.
  std::vector<float> run(const DeviceBuffer& x, int64_t first, int64_t m, Epilogue::Kind kind,
                         const std::vector<float>& before = {}, int64_t num_generated = 0) {
    const bool is_float = kind == Epilogue::Kind::add || kind == Epilogue::Kind::float32;
    const int64_t width = kind == Epilogue::Kind::swiglu ? linear.n / 2 : linear.n;
    const Element element = is_float ? Element::f32 : linear.element;
    const DeviceBuffer out =
        kind == Epilogue::Kind::add ? to_device(before) : nan_buffer(m * width * element_bytes(element));
    done(prepare_linear(linear, kind, workspace, nullptr));
    REQUIRE(cudaMemset(scratch.data(), 0xff, sz(scratch.bytes())) == cudaSuccess);
    const auto* rows = x.as<std::byte>() + first * linear.k * element_bytes(linear.element);
    done(linear_forward_split(linear, rows, num_generated, m, {kind, out.data(), width}, workspace, nullptr));
    return elements_from_device(element, out);
  }
};

// Sums x W^T + bias in double, [m, n] of all parts side by side.
std::vector<double> reference_sums(const std::vector<RandomLinear>& parts, const std::vector<float>& x, int64_t m,
                                   int64_t k, bool biased) {
  std::vector<double> sums;
  for (int64_t r = 0; r < m; ++r) {
    const std::vector<double> row(x.begin() + r * k, x.begin() + (r + 1) * k);
    for (const RandomLinear& part : parts) {
      auto y = reference_product(row, part.weight(), part.linear().out_features);
      for (size_t i = 0; i < y.size() && biased; ++i) y[i] += static_cast<double>(part.bias()[i]);
      sums.insert(sums.end(), y.begin(), y.end());
    }
  }
  return sums;
}

std::vector<double> reference_swiglu(const std::vector<double>& sums, int64_t m, int64_t n) {
  std::vector<double> out;
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t i = 0; i < n / 2; ++i)
      out.push_back(reference_silu(sums[sz(r * n + i)]) * sums[sz(r * n + n / 2 + i)]);
  }
  return out;
}

enum class Form { dense_bf16, dense_f16, int4, int4_asymmetric, int4_ordered, int8, mixed };
constexpr std::pair<Form, const char*> kForms[] = {{Form::dense_bf16, "dense bf16"},
                                                   {Form::dense_f16, "dense f16"},
                                                   {Form::int4, "int4"},
                                                   {Form::int4_asymmetric, "int4 asymmetric"},
                                                   {Form::int4_ordered, "int4 by activation order"},
                                                   {Form::int8, "int8"},
                                                   {Form::mixed, "dense beside int4"}};

RandomLinear make(Form form, int64_t out, int64_t in, uint64_t seed) {
  switch (form) {
    case Form::dense_bf16: return RandomLinear::dense(out, in, DType::bf16, seed);
    case Form::dense_f16: return RandomLinear::dense(out, in, DType::f16, seed);
    case Form::int4_asymmetric: return RandomLinear::int4(out, in, {4, 32, false, false}, DType::bf16, seed);
    case Form::int4_ordered:
      return RandomLinear::int4(out, in, {4, 32, true, true}, DType::bf16, 77);  // one order for all parts
    case Form::int8: return RandomLinear::int4(out, in, {8, 64, true, false}, DType::f32, seed);
    case Form::mixed:
      return seed % 2 ? RandomLinear::dense(out, in, DType::bf16, seed)
                      : RandomLinear::int4(out, in, {4, 128, true, false}, DType::bf16, seed);
    case Form::int4: break;
  }
  return RandomLinear::int4(out, in, {4, 128, true, false}, DType::bf16, seed);
}

bool stays_packed(Form form) {
  return form == Form::int4 || form == Form::int4_asymmetric || form == Form::int4_ordered;
}

}  // namespace

TEST_CASE("products and every epilogue equal plain loops, for every form of weight") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kIn = 256, kPart = 136, kRows = 37;
  for (const auto& [form, form_name] : kForms) {
    for (const Element element : kElements) {
      for (const bool biased : {false, true}) {
        for (const bool expanded : {false, true}) {
          for (Blas* blas : {static_cast<Blas*>(nullptr), library()}) {
            CAPTURE(form_name);
            CAPTURE(name_of(element));
            CAPTURE(biased);
            CAPTURE(expanded);
            std::vector<RandomLinear> parts = {make(form, kPart, kIn, 1), make(form, kPart, kIn, 2)};
            if (biased) {
              parts[0].add_bias(5);
              parts[1].add_bias(6);
            }
            Stage stage({&parts[0].linear(), &parts[1].linear()}, {element, expanded}, blas, kRows);
            const bool quantized = stays_packed(form) && element == Element::bf16;
            CHECK(stage.linear.is_dense() == !(quantized && !expanded));
            CHECK(stage.linear.packed.has_value() == (quantized && form != Form::int4_ordered));
            // Weights that are exact in bf16 are compared at the products' own precision.
            const auto x = rounded(element, random_normals(kRows * kIn, 3));
            const DeviceBuffer on_device = elements_to_device(element, x);
            const auto sums = reference_sums(parts, x, kRows, kIn, biased);
            const double close = form == Form::dense_f16 && element == Element::bf16 ? 4e-3 : 3e-6;
            const double limit = rounding_of(element);
            const auto before = random_normals(kRows * 2 * kPart, 4);
            std::vector<double> added(sums);
            for (size_t i = 0; i < added.size(); ++i) added[i] += static_cast<double>(before[i]);
            CHECK(distance(stage.run(on_device, 0, kRows, Epilogue::Kind::float32), sums).relative < close);
            CHECK(distance(stage.run(on_device, 0, kRows, Epilogue::Kind::add, before), added).relative < close);
            CHECK(distance(stage.run(on_device, 0, kRows, Epilogue::Kind::store), sums).relative < limit);
            CHECK(distance(stage.run(on_device, 0, kRows, Epilogue::Kind::swiglu),
                           reference_swiglu(sums, kRows, 2 * kPart))
                      .relative < 2.5 * limit);
            const char* kernel = element == Element::f32 ? "multiply_f32" : blas ? "cublasLt" : "multiply_bf16";
            CHECK_MESSAGE(stage.ran.find(kernel) != std::string::npos, stage.ran);
            CHECK((stage.ran.find("dequantize") != std::string::npos) == !stage.linear.is_dense());
          }
        }
      }
    }
  }
}

TEST_CASE("a row's bits do not depend on the number of rows, nor on its place among them") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kMost = 2048;
  const std::pair<int64_t, int64_t> shapes[] = {{272, 256}, {1536, 576}, {5120, 1024}, {300, 64}, {6144, 5120}};
  for (const auto& [n, k] : shapes) {
    const RandomLinear dense = make(Form::dense_bf16, n, k, 1),
                       packed = make(k % 128 == 0 ? Form::int4 : Form::int8, n, k, 2);
    for (const RandomLinear* layer : {&dense, &packed}) {
      for (const Element element : kElements) {
        for (Blas* blas : {static_cast<Blas*>(nullptr), library()}) {
          if (element == Element::f32 && (blas || n * k > 1500000)) continue;
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(name_of(element));
          CAPTURE((blas != nullptr));
          Stage stage({&layer->linear()}, {element, false}, blas, kMost);
          const DeviceBuffer x = elements_to_device(element, random_normals(sz(kMost * k), 3));
          for (const auto kind : {Epilogue::Kind::store, Epilogue::Kind::float32}) {
            const auto whole = stage.run(x, 0, kMost, kind);
            for (const int64_t m : {1, 7, 16, 17, 64, 65, 300, 1025}) {
              for (const int64_t first : {int64_t{0}, int64_t{3}, kMost - m}) {
                const auto part = stage.run(x, first, m, kind);
                REQUIRE(std::equal(part.begin(), part.end(), whole.begin() + first * n));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("generated rows go through the W4A16 kernels, given ones keep their dense bits, both beside each other") {
  ASSAY_NEEDS_DEVICE();
  constexpr int64_t kIn = 256, kPart = 136, kRows = 90;
  for (const auto& [form, form_name] : kForms) {
    for (const bool biased : {false, true}) {
      for (const bool expanded : {false, true}) {
        CAPTURE(form_name);
        CAPTURE(biased);
        CAPTURE(expanded);
        std::vector<RandomLinear> parts = {make(form, kPart, kIn, 1), make(form, kPart, kIn, 2)};
        if (biased) {
          parts[0].add_bias(5);
          parts[1].add_bias(6);
        }
        const auto x = rounded(Element::bf16, random_normals(sz(kRows * kIn), 3));
        const DeviceBuffer on_device = elements_to_device(Element::bf16, x);
        const auto sums = reference_sums(parts, x, kRows, kIn, biased);
        const auto before = random_normals(kRows * 2 * kPart, 4);
        std::vector<double> added(sums);
        for (size_t i = 0; i < added.size(); ++i) added[i] += static_cast<double>(before[i]);
        const double close = form == Form::dense_f16 ? 4e-3 : 3e-6, limit = rounding_of(Element::bf16);
        for (const bool gate_up : {false, true}) {
          Stage stage({&parts[0].linear(), &parts[1].linear()}, {Element::bf16, expanded}, library(), kRows, gate_up);
          const auto kinds = gate_up ? std::vector{Epilogue::Kind::swiglu}
                                     : std::vector{Epilogue::Kind::store, Epilogue::Kind::add, Epilogue::Kind::float32};
          for (const auto kind : kinds) {
            const auto& base = kind == Epilogue::Kind::add ? before : std::vector<float>{};
            const auto given = stage.run(on_device, 0, kRows, kind, base);
            CHECK(stage.ran.find("w4a16") == std::string::npos);
            const auto generated = stage.run(on_device, 0, kRows, kind, base, kRows);
            CHECK((stage.ran.find("w4a16") != std::string::npos) == stage.linear.packed.has_value());
            if (stage.linear.packed) CHECK(stage.ran.find("dequantize") == std::string::npos);
            const auto want = kind == Epilogue::Kind::swiglu ? reference_swiglu(sums, kRows, 2 * kPart)
                              : kind == Epilogue::Kind::add  ? added
                                                             : sums;
            const bool rounds = kind == Epilogue::Kind::store || kind == Epilogue::Kind::swiglu;
            CHECK(distance(generated, want).relative < (rounds ? 2.5 * limit : close));
            const size_t width = given.size() / sz(kRows);
            for (const int64_t count : {1, 7, 33, 89}) {
              const auto mixed = stage.run(on_device, 0, kRows, kind, base, count);
              const auto edge = static_cast<std::ptrdiff_t>(sz(count) * width);
              REQUIRE(std::equal(mixed.begin(), mixed.begin() + edge, generated.begin()));
              REQUIRE(std::equal(mixed.begin() + edge, mixed.end(), given.begin() + edge));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("packed weights made dense in scratch are the dense weights, whatever shape and groups") {
  ASSAY_NEEDS_DEVICE();
  for (const auto& [n, k, group] : {std::tuple{272, 256, 128}, {1030, 384, 32}, {96, 192, 64}, {514, 640, 0}}) {
    for (const bool symmetric : {true, false}) {
      for (const bool gate_up : {false, true}) {
        const RandomLinear layer = RandomLinear::int4(n, k, {4, group, symmetric, false}, DType::bf16, 9);
        const Stage packed({&layer.linear()}, {Element::bf16, false}, nullptr, 1, gate_up);
        const Stage dense({&layer.linear()}, {Element::bf16, true}, nullptr, 1, gate_up);
        REQUIRE(packed.linear.packed.has_value());
        const DeviceBuffer made = nan_buffer(int64_t{n} * k * 2);
        done(dequantize_w4(*packed.linear.packed, made.data(), nullptr));
        CHECK(from_device<uint16_t>(made) == from_device<uint16_t>(std::get<DenseWeight>(dense.linear.weight).data));
      }
    }
  }
}

TEST_CASE("scales that bfloat16 cannot hold keep a layer off the W4A16 kernels") {
  ASSAY_NEEDS_DEVICE();
  const RandomLinear layer = RandomLinear::int4(64, 256, {4, 128, true, false}, DType::f16, 9);
  Stage stage({&layer.linear()}, {Element::bf16, false}, nullptr, 4);
  CHECK_FALSE(stage.linear.packed.has_value());
  const DeviceBuffer x = elements_to_device(Element::bf16, random_normals(4 * 256, 3));
  stage.run(x, 0, 4, Epilogue::Kind::store, {}, 4);
  CHECK(stage.ran == "dequantize + multiply_bf16");
}
