#include "bench/cublas_peer.h"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <map>
#include <tuple>
#include <vector>

namespace assay::bench {
namespace {

// The part of cuBLASLt 13's C interface that is used, as its documentation gives it.
using Handle = void*;
using Desc = void*;
using Layout = void*;
using Preference = void*;
struct Algo {
  uint64_t data[8];
};
struct Heuristic {
  Algo algo;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};
constexpr int kCompute32F = 68, kReal32F = 0, kReal16BF = 14, kTransA = 3, kTransposed = 1, kMaxWorkspace = 1;

struct Functions {
  int (*create)(Handle*) = nullptr;
  int (*desc_create)(Desc*, int, int) = nullptr;
  int (*desc_set)(Desc, int, const void*, size_t) = nullptr;
  int (*layout_create)(Layout*, int, uint64_t, uint64_t, int64_t) = nullptr;
  int (*preference_create)(Preference*) = nullptr;
  int (*preference_set)(Preference, int, const void*, size_t) = nullptr;
  int (*suggest)(Handle, Desc, Layout, Layout, Layout, Layout, Preference, int, Heuristic*, int*) = nullptr;
  int (*matmul)(Handle, Desc, const void*, const void*, Layout, const void*, Layout, const void*, const void*, Layout,
                void*, Layout, const Algo*, void*, size_t, cudaStream_t) = nullptr;
};

constexpr size_t kWorkspaceBytes = size_t{64} << 20;

// Row-major x W^T is column-major W^T x: the library's A is W [k, n], transposed, its B is x [k, m].
struct Prepared {
  Desc desc = nullptr;
  Layout w = nullptr, x = nullptr, out = nullptr;
  std::vector<Heuristic> algorithms;
};

class Peer : public CublasPeer {
 public:
  bool open(std::string& why_not) {
    void* library = nullptr;
    const char* given = std::getenv("ASSAY_CUBLASLT");
    for (const char* name : {given, "libcublasLt.so.13", "/usr/local/cuda/lib64/libcublasLt.so.13"})
      if (library == nullptr && name != nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      why_not = "libcublasLt.so.13 not found; set ASSAY_CUBLASLT to its path";
      return false;
    }
    const auto find = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
      return function != nullptr;
    };
    const bool found = find(lt_.create, "cublasLtCreate") && find(lt_.desc_create, "cublasLtMatmulDescCreate") &&
                       find(lt_.desc_set, "cublasLtMatmulDescSetAttribute") &&
                       find(lt_.layout_create, "cublasLtMatrixLayoutCreate") &&
                       find(lt_.preference_create, "cublasLtMatmulPreferenceCreate") &&
                       find(lt_.preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
                       find(lt_.suggest, "cublasLtMatmulAlgoGetHeuristic") && find(lt_.matmul, "cublasLtMatmul");
    if (found && lt_.create(&handle_) == 0 && cudaMalloc(&workspace_, kWorkspaceBytes) == cudaSuccess) return true;
    why_not = "libcublasLt.so.13 cannot be used";
    return false;
  }

  bool matmul(const __nv_bfloat16* w, const __nv_bfloat16* x, __nv_bfloat16* out, int64_t m, int64_t n, int64_t k,
              int algorithm, cudaStream_t stream) override {
    const Prepared& p = prepare(m, n, k);
    if (algorithm >= static_cast<int>(p.algorithms.size())) return false;
    const float one = 1, zero = 0;
    return lt_.matmul(handle_, p.desc, &one, w, p.w, x, p.x, &zero, out, p.out, out, p.out,
                      &p.algorithms[static_cast<size_t>(algorithm)].algo, workspace_, kWorkspaceBytes, stream) == 0;
  }

 private:
  const Prepared& prepare(int64_t m, int64_t n, int64_t k) {
    const auto [place, fresh] = prepared_.try_emplace({m, n, k});
    if (fresh) make(place->second, m, n, k);
    return place->second;
  }

  void make(Prepared& p, int64_t m, int64_t n, int64_t k) {
    Preference preference = nullptr;
    const int transposed = kTransposed;
    const auto rows = static_cast<uint64_t>(m), columns = static_cast<uint64_t>(n), depth = static_cast<uint64_t>(k);
    if (lt_.desc_create(&p.desc, kCompute32F, kReal32F) != 0) return;
    if (lt_.desc_set(p.desc, kTransA, &transposed, sizeof transposed) != 0) return;
    if (lt_.layout_create(&p.w, kReal16BF, depth, columns, k) != 0) return;
    if (lt_.layout_create(&p.x, kReal16BF, depth, rows, k) != 0) return;
    if (lt_.layout_create(&p.out, kReal16BF, columns, rows, n) != 0) return;
    if (lt_.preference_create(&preference) != 0) return;
    if (lt_.preference_set(preference, kMaxWorkspace, &kWorkspaceBytes, sizeof kWorkspaceBytes) != 0) return;
    std::array<Heuristic, 4> found;
    int count = 0;
    if (lt_.suggest(handle_, p.desc, p.w, p.x, p.out, p.out, preference, static_cast<int>(found.size()), found.data(),
                    &count) == 0)
      p.algorithms.assign(found.begin(), found.begin() + count);
  }

  Functions lt_;
  Handle handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Prepared> prepared_;
};

}  // namespace

std::unique_ptr<CublasPeer> open_cublas(std::string& why_not) {
  auto peer = std::make_unique<Peer>();
  if (!peer->open(why_not)) return nullptr;
  return peer;
}

}  // namespace assay::bench
