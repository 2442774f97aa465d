#include "engine/cuda/w4a16.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/cuda/kernels/w4a16_kernels.h"
#include "engine/cuda/repack.h"
#include "tests/support/reference_w4.h"

namespace assay::cuda {
namespace {

using assay::testing::ReferenceW4;

bool has_device() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    MESSAGE("no CUDA device: skipped");
    return false;
  }
  static const Status prepared = w4a16_prepare();
  REQUIRE_MESSAGE(prepared.ok(), prepared.message());
  return true;
}

void require_cuda(cudaError_t error) { REQUIRE_MESSAGE(error == cudaSuccess, cudaGetErrorString(error)); }

template <class T>
class Device {
 public:
  explicit Device(int64_t count) : count_(count) {
    require_cuda(cudaMalloc(&data_, static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(T)));
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device() { cudaFree(data_); }
  T* get() const { return static_cast<T*>(data_); }
  int64_t size() const { return count_; }
  void set_bytes(int value) { require_cuda(cudaMemset(data_, value, static_cast<size_t>(count_) * sizeof(T))); }
  void upload(const std::vector<T>& from) {
    require_cuda(cudaMemcpy(data_, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> download() const {
    std::vector<T> values(static_cast<size_t>(count_));
    require_cuda(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  void* data_ = nullptr;
  int64_t count_ = 0;
};

// A random matrix in both orders, activations, and the plain product.
struct Problem {
  W4Shape shape;
  int64_t m, group_size;
  Device<uint32_t> codes;
  Device<float> scales;
  Device<int8_t> zeros;
  Device<uint8_t> blocks;
  Device<__nv_bfloat16> x;
  std::vector<float> want;  // [m, n]
  Device<uint8_t> workspace;

  Problem(int64_t n, int64_t k, int64_t group, bool has_zeros, int64_t tokens, uint64_t seed, bool reference = true,
          bool interleave = false)
      : shape(w4_shape(n, k, group, has_zeros).value()),
        m(tokens),
        group_size(group),
        codes(n * ((k + 7) / 8)),
        scales(n * ((k + group - 1) / group)),
        zeros(n * ((k + group - 1) / group)),
        blocks(shape.bytes()),
        x(tokens * k),
        workspace(int64_t{256} << 20) {
    assay::testing::fill_codes(codes.get(), codes.size(), seed, nullptr);
    assay::testing::fill_scales(scales.get(), scales.size(), seed + 1, nullptr);
    assay::testing::fill_zeros(zeros.get(), zeros.size(), seed + 2, nullptr);
    assay::testing::fill_bf16(x.get(), x.size(), seed + 3, nullptr);
    workspace.set_bytes(0);
    const W4Source source{codes.get(), scales.get(), has_zeros ? zeros.get() : nullptr, group, interleave};
    const Status repacked = w4a16_repack(source, shape, blocks.get(), nullptr);
    REQUIRE_MESSAGE(repacked.ok(), repacked.message());
    if (reference) {
      Device<float> out(m * n);
      assay::testing::reference_matmul({codes.get(), scales.get(), has_zeros ? zeros.get() : nullptr, n, k, group},
                                       x.get(), m, out.get(), nullptr);
      want = out.download();
    }
    require_cuda(cudaDeviceSynchronize());
  }
  W4Matrix matrix() const { return {shape, blocks.get()}; }
};

struct Named {
  std::string name;
  LaunchPlan plan;
};

// Every compiled kernel for this shape, in every schedule.
std::vector<Named> all_variants(const W4Shape& shape) {
  std::vector<Named> variants;
  const auto add = [&](LaunchPlan plan) {
    plan.stages = plan_max_stages(plan, shape, plan.kernel == LaunchPlan::Kernel::mma ? 4 : 5);
    if (plan_is_supported(plan, shape)) variants.push_back({plan.text(), plan});
  };
  for (const MmaKernel& kernel : mma_kernels()) {
    if (kernel.sets != shape.sets || kernel.zeros != shape.has_zeros) continue;
    for (const bool spread : {true, false}) {
      LaunchPlan plan;
      plan.kernel = LaunchPlan::Kernel::mma;
      plan.tile_tokens = kernel.tile_tokens, plan.spread_reduction = spread;
      add(plan);
    }
  }
  for (const WgmmaKernel& kernel : wgmma_kernels()) {
    if (kernel.sets != shape.sets || kernel.zeros != shape.has_zeros) continue;
    LaunchPlan plan;
    plan.tile_tokens = kernel.tile_tokens, plan.warpgroups = kernel.warpgroups, plan.halves = kernel.halves;
    add(plan);
    plan.spread_reduction = false;
    add(plan);
    plan.spread_reduction = true;
    plan.schedule = LaunchPlan::Schedule::tiles;
    add(plan);
    plan.batch_invariant = false;
    add(plan);
  }
  return variants;
}

struct Report {
  double relative = 0, largest = 0;
  int64_t first_wrong = -1, wrong = 0;
  float got = 0, want = 0;
};

// tolerance: of one element, relative to the largest wanted element.
Report compare(const std::vector<float>& got, const float* want, double tolerance) {
  Report report;
  double error = 0, norm = 0, peak = 0;
  for (size_t i = 0; i < got.size(); ++i) peak = std::max(peak, std::abs(static_cast<double>(want[i])));
  for (size_t i = 0; i < got.size(); ++i) {
    double off = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    if (std::isnan(off)) off = 1e30;
    if (off > tolerance * peak) {
      if (report.first_wrong < 0)
        report.first_wrong = static_cast<int64_t>(i), report.got = got[i], report.want = want[i];
      ++report.wrong;
    }
    report.largest = std::max(report.largest, off);
    error += off * off, norm += static_cast<double>(want[i]) * static_cast<double>(want[i]);
  }
  report.relative = norm > 0 ? std::sqrt(error / norm) : 0;
  return report;
}

void print_report(const std::string& name, int64_t n, int64_t k, int64_t m, const Report& report) {
  fmt::print("{} {:60} n {:6} k {:6} m {:5}  relative {:.2e} largest {:.2e}", report.wrong ? "FAIL" : "pass", name, n,
             k, m, report.relative, report.largest);
  if (report.wrong)
    fmt::print("  {} wrong, first at token {} row {}: {} expected {}", report.wrong, report.first_wrong / n,
               report.first_wrong % n, report.got, report.want);
  fmt::print("\n");
  std::fflush(stdout);
}

// x W^T for the first m tokens as float32, from NaNs.
std::vector<float> run_float(const Problem& problem, const LaunchPlan& plan, int64_t m, int64_t first = 0) {
  const int64_t n = problem.shape.n;
  Device<float> out(m * n);
  out.set_bytes(0xFF);
  std::string ran;
  const Status status =
      w4a16_matmul(problem.matrix(), problem.x.get() + first * problem.shape.k, problem.shape.k, m,
                   {W4Epilogue::Kind::float32, out.get(), n, nullptr}, plan, problem.workspace.get(), nullptr, &ran);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(ran == (plan.kernel == LaunchPlan::Kernel::mma ? "w4a16_gemv" : "w4a16_gemm"));
  require_cuda(cudaDeviceSynchronize());
  return out.download();
}

int64_t workspace_left(const Problem& problem, const LaunchPlan& plan) {
  const int64_t tiles = std::min<int64_t>(4, (problem.m + plan.tile_tokens - 1) / plan.tile_tokens);
  std::vector<uint32_t> flags(static_cast<size_t>(problem.shape.num_block_rows * tiles * 4));
  require_cuda(cudaMemcpy(flags.data(), problem.workspace.get(), flags.size() * 4, cudaMemcpyDeviceToHost));
  return std::count_if(flags.begin(), flags.end(), [](uint32_t flag) { return flag != 0; });
}

void check_variants(const Problem& problem, const std::vector<int64_t>& tokens) {
  for (const Named& variant : all_variants(problem.shape))
    for (const int64_t m : tokens) {
      if (m > 4 * 64 && variant.plan.tile_tokens <= 16) continue;
      const std::vector<float> got = run_float(problem, variant.plan, m);
      const Report report = compare(got, problem.want.data(), 1e-3);
      print_report(variant.name, problem.shape.n, problem.shape.k, m, report);
      CHECK(report.wrong == 0);
      CHECK(report.relative < 5e-4);
      CHECK(workspace_left(problem, variant.plan) == 0);
    }
}

float round_bf16(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }

std::vector<float> widen(const std::vector<__nv_bfloat16>& from) {
  std::vector<float> to(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = __bfloat162float(from[i]);
  return to;
}

uint64_t hash_row(const float* row, int64_t n) {
  uint64_t hash = 1469598103934665603ull;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, row + i, 4);
    hash = (hash ^ bits) * 1099511628211ull;
  }
  return hash;
}

}  // namespace

TEST_CASE("a: packing on the device gives the host's bytes") {
  if (!has_device()) return;
  for (const int64_t group : {32, 64, 128, 200})
    for (const bool zeros : {false, true})
      for (const bool interleave : {false, true}) {
        const Problem problem(328, 200, group, zeros, 1, 5 + static_cast<uint64_t>(group), false, interleave);
        const std::vector<float> scales = problem.scales.download();
        std::vector<uint16_t> bits(scales.size());
        for (size_t i = 0; i < bits.size(); ++i) {
          uint32_t word;
          std::memcpy(&word, &scales[i], 4);
          bits[i] = static_cast<uint16_t>(word >> 16);
        }
        const std::vector<uint32_t> codes = problem.codes.download();
        const std::vector<int8_t> offsets = zeros ? problem.zeros.download() : std::vector<int8_t>();
        const std::vector<uint8_t> host = pack_w4({codes, bits, offsets, group, interleave}, problem.shape);
        const bool equal = host == problem.blocks.download();
        fmt::print("{} packing group {} zeros {} interleaved {}\n", equal ? "pass" : "FAIL", group, zeros, interleave);
        CHECK(equal);
      }
}

TEST_CASE("b: the plain kernel equals plain loops") {
  if (!has_device()) return;
  const Problem problem(512, 512, 128, false, 70, 11);
  for (const Named& variant : all_variants(problem.shape)) {
    if (variant.plan.kernel != LaunchPlan::Kernel::mma) continue;
    for (const int64_t m : {1, 8, 9, 70}) {
      const Report report = compare(run_float(problem, variant.plan, m), problem.want.data(), 1e-3);
      print_report(variant.name, 512, 512, m, report);
      CHECK(report.wrong == 0);
    }
  }
}

TEST_CASE("c: every variant equals plain loops on a small matrix") {
  if (!has_device()) return;
  check_variants(Problem(512, 512, 128, false, 300, 21), {1, 7, 8, 64, 130, 300});
}

TEST_CASE("d: every variant equals plain loops where rows, columns and tokens are no multiple of a tile") {
  if (!has_device()) return;
  check_variants(Problem(328, 712, 128, false, 300, 31), {3, 37, 300});
  check_variants(Problem(40, 64, 64, false, 20, 32), {1, 20});
  check_variants(Problem(770, 4104, 128, false, 70, 33), {70});
}

TEST_CASE("e: every group size and zero point form") {
  if (!has_device()) return;
  for (const int64_t group : {32, 64, 256, 1536})
    check_variants(Problem(576, 1536, group, false, 140, 40 + static_cast<uint64_t>(group)), {1, 33, 140});
  for (const int64_t group : {32, 64, 128})
    check_variants(Problem(576, 1536, group, true, 140, 50 + static_cast<uint64_t>(group)), {1, 33, 140});
}

TEST_CASE("f: every variant equals plain loops on the shapes of a 24B model") {
  if (!has_device()) return;
  check_variants(Problem(6144, 5120, 128, false, 300, 61), {1, 64, 300});
  check_variants(Problem(5120, 4096, 128, false, 130, 62), {1, 16, 130});
  check_variants(Problem(5120, 32768, 128, false, 66, 63), {1, 66});
  check_variants(Problem(65536, 5120, 128, false, 20, 64), {1, 20});
}

TEST_CASE("g: epilogues") {
  if (!has_device()) return;
  const int64_t n = 1056, k = 768, m = 45;
  const Problem problem(n, k, 128, false, m, 71);
  Device<float> bias(n);
  assay::testing::fill_floats(bias.get(), n, 72, nullptr);
  const std::vector<float> offset = bias.download();
  for (const Named& variant : all_variants(problem.shape)) {
    const auto run = [&](W4Epilogue epilogue) {
      const Status status = w4a16_matmul(problem.matrix(), problem.x.get(), k, m, epilogue, variant.plan,
                                         problem.workspace.get(), nullptr);
      REQUIRE_MESSAGE(status.ok(), status.message());
      require_cuda(cudaDeviceSynchronize());
    };
    std::vector<float> want(static_cast<size_t>(m * n));
    for (size_t i = 0; i < want.size(); ++i) want[i] = problem.want[i] + offset[i % static_cast<size_t>(n)];
    Device<__nv_bfloat16> stored(m * n);
    stored.set_bytes(0xFF);
    run({W4Epilogue::Kind::store, stored.get(), n, bias.get()});
    Report report = compare(widen(stored.download()), want.data(), 8e-3);
    print_report(variant.name + " store", n, k, m, report);
    CHECK(report.wrong == 0);

    Device<float> residual(m * n);
    assay::testing::fill_floats(residual.get(), m * n, 73, nullptr);
    const std::vector<float> before = residual.download();
    run({W4Epilogue::Kind::add, residual.get(), n, nullptr});
    for (size_t i = 0; i < want.size(); ++i) want[i] = problem.want[i] + before[i];
    report = compare(residual.download(), want.data(), 1e-3);
    print_report(variant.name + " add", n, k, m, report);
    CHECK(report.wrong == 0);

    Device<__nv_bfloat16> gated(m * n / 2);
    gated.set_bytes(0xFF);
    run({W4Epilogue::Kind::swiglu, gated.get(), n / 2, nullptr});
    std::vector<float> want_gated(static_cast<size_t>(m * n / 2));
    for (size_t i = 0; i < want_gated.size(); ++i) {
      const float gate = round_bf16(problem.want[2 * i]), up = round_bf16(problem.want[2 * i + 1]);
      want_gated[i] = gate / (1 + std::exp(-gate)) * up;
    }
    report = compare(widen(gated.download()), want_gated.data(), 1.6e-2);
    print_report(variant.name + " swiglu", n, k, m, report);
    CHECK(report.wrong == 0);
  }
}

TEST_CASE("h: a row's bits are the same for every number of tokens and every variant that sums as streams do") {
  if (!has_device()) return;
  for (const auto& [n, k] : {std::pair<int64_t, int64_t>{5120, 4096}, {6144, 5120}, {2560, 12288}}) {
    const Problem problem(n, k, 128, false, 2048, 81, false);
    const LaunchPlan first_plan = plan_w4a16(1, problem.shape, {});
    const std::vector<float> first = run_float(problem, first_plan, 1);
    const uint64_t want = hash_row(first.data(), n);
    for (const int64_t m : {1, 7, 8, 16, 17, 64, 100, 128, 300, 512, 1024, 2048}) {
      const LaunchPlan plan = plan_w4a16(m, problem.shape, {});
      const std::vector<float> got = run_float(problem, plan, m);
      const bool equal = hash_row(got.data(), n) == want;
      const std::vector<float> last = run_float(problem, first_plan, 1, m - 1);
      const bool last_equal = hash_row(last.data(), n) == hash_row(got.data() + (m - 1) * n, n);
      fmt::print("{} bits of the first and last row at m {:5} by {}: {} {}\n", equal && last_equal ? "pass" : "FAIL", m,
                 plan.text(), equal ? "equal" : "differ", last_equal ? "equal" : "differ");
      CHECK(equal);
      CHECK(last_equal);
    }
    for (const Named& variant : all_variants(problem.shape)) {
      const std::vector<float> got = run_float(problem, variant.plan, 100);
      int64_t differ = 0;
      for (int64_t i = 0; i < n; ++i)
        differ += std::memcmp(&got[static_cast<size_t>(i)], &first[static_cast<size_t>(i)], 4) != 0;
      const bool promised = variant.plan.kernel == LaunchPlan::Kernel::wgmma &&
                            (variant.plan.schedule == LaunchPlan::Schedule::stream || variant.plan.batch_invariant);
      fmt::print("{} bits at m 100 by {}: {} of {} differ\n",
                 differ == 0 ? "pass"
                 : promised  ? "FAIL"
                             : "note",
                 variant.name, differ, n);
      if (promised) CHECK(differ == 0);
    }
    std::fflush(stdout);
  }
}

TEST_CASE("i: repeated and overlapping launches give the same bits") {
  if (!has_device()) return;
  for (const int64_t m : {1, 16, 64, 128, 300}) {
    const Problem problem(5120, 4096, 128, false, m, 91, false);
    LaunchPlan plan = plan_w4a16(m, problem.shape, {});
    const std::vector<float> want = run_float(problem, plan, m);
    plan.overlap = true;
    constexpr int kRuns = 40;
    Device<float> out(kRuns * m * 5120);
    out.set_bytes(0xFF);
    for (int run = 0; run < kRuns; ++run) {
      const W4Epilogue epilogue{W4Epilogue::Kind::float32, out.get() + run * m * 5120, 5120, nullptr};
      const Status status =
          w4a16_matmul(problem.matrix(), problem.x.get(), 4096, m, epilogue, plan, problem.workspace.get(), nullptr);
      REQUIRE_MESSAGE(status.ok(), status.message());
    }
    require_cuda(cudaDeviceSynchronize());
    const std::vector<float> got = out.download();
    int different = 0;
    for (int run = 0; run < kRuns; ++run)
      different += std::memcmp(got.data() + run * m * 5120, want.data(), want.size() * 4) != 0;
    fmt::print("{} {} of {} overlapping launches differ at m {}\n", different ? "FAIL" : "pass", different, kRuns, m);
    CHECK(different == 0);
  }
}

TEST_CASE("k: products of different shapes share one workspace") {
  if (!has_device()) return;
  const int64_t m = 40;
  const Problem wide(5120, 4096, 128, false, m, 101, false), tall(20480, 1024, 128, false, m, 102, false);
  for (const bool spread : {false, true}) {
    LaunchPlan plan;
    plan.tile_tokens = 16, plan.spread_reduction = spread;
    const std::vector<float> want_wide = run_float(wide, plan, m), want_tall = run_float(tall, plan, m);
    Device<float> out(m * 20480);
    for (int round = 0; round < 3; ++round)
      for (const Problem* problem : {&wide, &tall}) {
        out.set_bytes(0xFF);
        const W4Epilogue epilogue{W4Epilogue::Kind::float32, out.get(), problem->shape.n, nullptr};
        const Status status = w4a16_matmul(problem->matrix(), problem->x.get(), problem->shape.k, m, epilogue, plan,
                                           wide.workspace.get(), nullptr);
        REQUIRE_MESSAGE(status.ok(), status.message());
        const std::vector<float> got = out.download(), &want = problem == &wide ? want_wide : want_tall;
        CHECK(std::memcmp(got.data(), want.data(), want.size() * 4) == 0);
      }
    fmt::print("pass one workspace, reduction {}\n", spread ? "spread" : "by one");
  }
}

TEST_CASE("j: plans without a kernel are refused") {
  W4Matrix matrix;
  matrix.shape = w4_shape(256, 256, 128, false).value();
  LaunchPlan plan;
  plan.tile_tokens = 24;
  CHECK(w4a16_matmul(matrix, nullptr, 256, 1, {}, plan, nullptr, nullptr).code() == Code::unsupported);
}

}  // namespace assay::cuda
