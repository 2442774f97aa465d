#include "engine/cuda/blas.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <map>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/cuda/device.h"
#include "engine/cuda/kernels.h"

#ifdef ASSAY_HAVE_CUBLASLT
#include <cublasLt.h>
#endif

namespace assay::cuda {

#ifdef ASSAY_HAVE_CUBLASLT

namespace {

constexpr int64_t kProbeRows = 2048;
constexpr int kSuggestions = 8;

// Rows up to which an algorithm serves, and numbers of rows at which it must have the reference's bits.
struct RowClass {
  int64_t most;
  std::array<int64_t, 3> probes;
};
constexpr std::array<RowClass, 5> kClasses = {
    {{16, {1, 7, 16}}, {64, {17, 33, 64}}, {128, {65, 100, 128}}, {256, {129, 200, 256}}, {1024, {257, 300, 1024}}}};

// The functions that are used, found in the opened library.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetVersion) get_version = nullptr;
  decltype(&cublasLtGetStatusString) status_string = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) suggest = nullptr;
  decltype(&cublasLtMatmulAlgoConfigGetAttribute) algo_get = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
};

Result<void*> open_library() {
  std::vector<std::string> places = {"libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13",
                                     "/usr/local/cuda/targets/x86_64-linux/lib/libcublasLt.so.13"};
  if (const char* given = std::getenv("ASSAY_CUBLASLT"); given && *given) places.insert(places.begin(), given);
  for (const std::string& place : places) {
    if (void* handle = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)) return handle;
  }
  return unavailable(fmt::format("cuBLASLt: not found as {}; set ASSAY_CUBLASLT to its path", fmt::join(places, ", ")));
}

Result<Library> find_functions(void* handle) {
  Library found;
  std::string missing;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function) missing = name;
  };
  find(found.create, "cublasLtCreate");
  find(found.destroy, "cublasLtDestroy");
  find(found.get_version, "cublasLtGetVersion");
  find(found.status_string, "cublasLtGetStatusString");
  find(found.desc_create, "cublasLtMatmulDescCreate");
  find(found.desc_destroy, "cublasLtMatmulDescDestroy");
  find(found.desc_set, "cublasLtMatmulDescSetAttribute");
  find(found.layout_create, "cublasLtMatrixLayoutCreate");
  find(found.layout_destroy, "cublasLtMatrixLayoutDestroy");
  find(found.preference_create, "cublasLtMatmulPreferenceCreate");
  find(found.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  find(found.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  find(found.suggest, "cublasLtMatmulAlgoGetHeuristic");
  find(found.algo_get, "cublasLtMatmulAlgoConfigGetAttribute");
  find(found.matmul, "cublasLtMatmul");
  if (missing.empty()) return found;
  return unavailable(fmt::format("cuBLASLt: has no {}, expected version 13", missing));
}

// The library thinks in columns: a row-major [rows, columns] is its [columns, rows] with the same leading dimension.
struct Descriptors {
  const Library& library;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t w = nullptr, x = nullptr, out = nullptr;

  explicit Descriptors(const Library& functions) : library(functions) {}
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;
  ~Descriptors() {
    if (out) library.layout_destroy(out);
    if (x) library.layout_destroy(x);
    if (w) library.layout_destroy(w);
    if (desc) library.desc_destroy(desc);
  }

  cublasStatus_t make(const BlasShape& shape, int64_t m, int64_t out_ld) {
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const auto n = static_cast<uint64_t>(shape.n), k = static_cast<uint64_t>(shape.k), rows = static_cast<uint64_t>(m);
    cublasStatus_t status = library.desc_create(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (status == CUBLAS_STATUS_SUCCESS)
      status = library.desc_set(desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (status == CUBLAS_STATUS_SUCCESS) status = library.layout_create(&w, CUDA_R_16BF, k, n, shape.k);
    if (status == CUBLAS_STATUS_SUCCESS) status = library.layout_create(&x, CUDA_R_16BF, k, rows, shape.k);
    if (status == CUBLAS_STATUS_SUCCESS)
      status = library.layout_create(&out, shape.float_out ? CUDA_R_32F : CUDA_R_16BF, n, rows, out_ld);
    return status;
  }
};

class CublasLt final : public Blas {
 public:
  explicit CublasLt(const Library& library) : library_(library) {}
  ~CublasLt() override {
    if (handle_) library_.destroy(handle_);
  }

  Status start() {
    ASSAY_TRY(check(library_.create(&handle_), "cublasLtCreate"));
    const size_t number = library_.get_version();
    version_ = fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
    return ok_status();
  }

  const std::string& version() const override { return version_; }
  bool is_prepared(const BlasShape& shape) const override {
    const auto found = chosen_.find(shape);
    return found != chosen_.end() && found->second.usable;
  }

  Status prepare(const BlasShape& shape, const void* w, cudaStream_t stream) override {
    if (chosen_.count(shape)) return ok_status();
    Choice choice;
    if (const Status status = choose(shape, w, stream, choice); !status.ok()) {
      if (status.code() != Code::out_of_memory) return status;
      log_detail(fmt::format("cuBLASLt: {}x{}: {}; own kernels multiply it", shape.n, shape.k, status.message()));
    }
    chosen_[shape] = choice;
    return ok_status();
  }

  Status multiply(const BlasShape& shape, const void* x, const void* w, int64_t m, void* out, int64_t out_ld,
                  cudaStream_t stream) override {
    const auto found = chosen_.find(shape);
    ASSAY_CHECK(found != chosen_.end() && found->second.usable);
    const Choice& choice = found->second;
    size_t i = 0;
    while (i < kClasses.size() && m > kClasses[i].most) ++i;
    return run(shape, choice.algorithms[i], x, w, m, out, out_ld, stream);
  }

 private:
  // One algorithm a class of rows, the reference last.
  struct Choice {
    bool usable = false;
    std::array<cublasLtMatmulAlgo_t, kClasses.size() + 1> algorithms{};
  };

  // Device memory of a choice: random rows, the reference's results and a suggestion's.
  struct Probe {
    DeviceBuffer x, want, got, differences;
  };

  Status check(cublasStatus_t status, const char* what) const {
    if (status == CUBLAS_STATUS_SUCCESS) return ok_status();
    ASSAY_TRY(cuda::check(cudaPeekAtLastError(), what));
    return internal_error(fmt::format("cuBLASLt: {}: {}", what, library_.status_string(status)));
  }

  Status run(const BlasShape& shape, const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w, int64_t m,
             void* out, int64_t out_ld, cudaStream_t stream) const {
    return check(try_run(shape, algorithm, x, w, m, out, out_ld, stream), "cublasLtMatmul");
  }

  cublasStatus_t try_run(const BlasShape& shape, const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w,
                         int64_t m, void* out, int64_t out_ld, cudaStream_t stream) const {
    Descriptors descriptors(library_);
    if (const auto status = descriptors.make(shape, m, out_ld); status != CUBLAS_STATUS_SUCCESS) return status;
    const float one = 1, beta = shape.add ? 1.0f : 0.0f;
    return library_.matmul(handle_, descriptors.desc, &one, w, descriptors.w, x, descriptors.x, &beta, out,
                           descriptors.out, out, descriptors.out, &algorithm, nullptr, 0, stream);
  }

  // The library's suggestions for m rows, best first, those that split k left out.
  std::vector<cublasLtMatmulAlgo_t> suggestions(const BlasShape& shape, int64_t m) const {
    Descriptors descriptors(library_);
    if (descriptors.make(shape, m, shape.n) != CUBLAS_STATUS_SUCCESS) return {};
    cublasLtMatmulPreference_t preference = nullptr;
    if (library_.preference_create(&preference) != CUBLAS_STATUS_SUCCESS) return {};
    const size_t no_workspace = 0;
    const uint32_t no_reduction = CUBLASLT_REDUCTION_SCHEME_NONE;
    library_.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &no_workspace, sizeof no_workspace);
    library_.preference_set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_reduction, sizeof no_reduction);
    std::array<cublasLtMatmulHeuristicResult_t, kSuggestions> results{};
    int count = 0;
    library_.suggest(handle_, descriptors.desc, descriptors.w, descriptors.x, descriptors.out, descriptors.out,
                     preference, kSuggestions, results.data(), &count);
    library_.preference_destroy(preference);
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i) {
      const auto& result = results[static_cast<size_t>(i)];
      if (result.state == CUBLAS_STATUS_SUCCESS && !splits_k(result.algo)) algorithms.push_back(result.algo);
    }
    return algorithms;
  }

  bool splits_k(const cublasLtMatmulAlgo_t& algorithm) const {
    int32_t splits = 1;
    size_t written = 0;
    library_.algo_get(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &splits, sizeof splits, &written);
    return splits > 1 || splits < 0;
  }

  int64_t out_bytes(const BlasShape& shape, int64_t rows) const { return rows * shape.n * (shape.float_out ? 4 : 2); }

  Status allocate(const BlasShape& shape, cudaStream_t stream, Probe& probe) const {
    ASSAY_ASSIGN(probe.x, DeviceBuffer::allocate(kProbeRows * shape.k * 2, "rows to compare products with"));
    ASSAY_ASSIGN(probe.want, DeviceBuffer::allocate(out_bytes(shape, kProbeRows), "products to compare"));
    ASSAY_ASSIGN(probe.got, DeviceBuffer::allocate(out_bytes(shape, kProbeRows), "products to compare"));
    ASSAY_ASSIGN(probe.differences, DeviceBuffer::allocate(sizeof(int32_t), "a count"));
    return fill_random_bf16(probe.x.data(), kProbeRows * shape.k, stream);
  }

  // What is added to is zero everywhere.
  Status run_probe(const BlasShape& shape, const cublasLtMatmulAlgo_t& algorithm, const Probe& probe, const void* w,
                   int64_t m, const DeviceBuffer& out, cudaStream_t stream, bool& ran) const {
    ASSAY_CUDA(cudaMemsetAsync(out.data(), 0, static_cast<size_t>(out_bytes(shape, m)), stream));
    ran = try_run(shape, algorithm, probe.x.data(), w, m, out.data(), shape.n, stream) == CUBLAS_STATUS_SUCCESS;
    return ok_status();
  }

  Status agrees(const BlasShape& shape, const cublasLtMatmulAlgo_t& algorithm, const Probe& probe, const void* w,
                int64_t m, cudaStream_t stream, bool& equal) const {
    ASSAY_TRY(run_probe(shape, algorithm, probe, w, m, probe.got, stream, equal));
    if (!equal) return ok_status();
    int32_t differences = 0;
    ASSAY_TRY(count_differences(probe.want.data(), probe.got.data(), out_bytes(shape, m),
                                probe.differences.as<int32_t>(), stream));
    ASSAY_CUDA(
        cudaMemcpyAsync(&differences, probe.differences.data(), sizeof differences, cudaMemcpyDeviceToHost, stream));
    ASSAY_CUDA(cudaStreamSynchronize(stream));
    equal = differences == 0;
    return ok_status();
  }

  Status agrees_in_class(const BlasShape& shape, const cublasLtMatmulAlgo_t& algorithm, const Probe& probe,
                         const void* w, const RowClass& rows, cudaStream_t stream, bool& equal) const {
    equal = true;
    for (const int64_t m : rows.probes) {
      if (equal) ASSAY_TRY(agrees(shape, algorithm, probe, w, m, stream, equal));
    }
    return ok_status();
  }

  Status choose(const BlasShape& shape, const void* w, cudaStream_t stream, Choice& choice) const {
    Probe probe;
    ASSAY_TRY(allocate(shape, stream, probe));
    for (const cublasLtMatmulAlgo_t& reference : suggestions(shape, kProbeRows)) {
      bool ran = false, equal = false;
      ASSAY_TRY(run_probe(shape, reference, probe, w, kProbeRows, probe.want, stream, ran));
      if (!ran) continue;
      ASSAY_TRY(agrees(shape, reference, probe, w, 1030, stream, equal));
      if (!equal) continue;
      ASSAY_TRY(choose_classes(shape, reference, probe, w, stream, choice));
      if (choice.usable) return ok_status();
    }
    log_detail(
        fmt::format("cuBLASLt: {}x{}: no algorithm is independent of the number of rows; own kernels multiply it",
                    shape.n, shape.k));
    return ok_status();
  }

  Status choose_classes(const BlasShape& shape, const cublasLtMatmulAlgo_t& reference, const Probe& probe,
                        const void* w, cudaStream_t stream, Choice& choice) const {
    int own = 0;
    for (size_t i = 0; i < kClasses.size(); ++i) {
      std::vector<cublasLtMatmulAlgo_t> candidates = suggestions(shape, kClasses[i].most);
      const size_t suggested = candidates.size();
      candidates.push_back(reference);
      bool equal = false;
      for (size_t c = 0; c < candidates.size() && !equal; ++c) {
        choice.algorithms[i] = candidates[c];
        ASSAY_TRY(agrees_in_class(shape, candidates[c], probe, w, kClasses[i], stream, equal));
        own += equal && c < suggested;
      }
      if (!equal) return ok_status();
    }
    choice.algorithms.back() = reference;
    choice.usable = true;
    log_detail(
        fmt::format("cuBLASLt: {}x{}: {} of {} classes of rows have an algorithm of their own with the same bits",
                    shape.n, shape.k, own, kClasses.size()));
    return ok_status();
  }

  Library library_;
  cublasLtHandle_t handle_ = nullptr;
  std::string version_;
  std::map<BlasShape, Choice> chosen_;
};

}  // namespace

Result<std::unique_ptr<Blas>> Blas::open() {
  ASSAY_ASSIGN(void* handle, open_library());
  ASSAY_ASSIGN(const Library library, find_functions(handle));
  auto blas = std::make_unique<CublasLt>(library);
  ASSAY_TRY(blas->start());
  return std::unique_ptr<Blas>(std::move(blas));
}

#else

Result<std::unique_ptr<Blas>> Blas::open() {
  return unavailable("cuBLASLt: this build of Assay was made without its header");
}

#endif

}  // namespace assay::cuda
