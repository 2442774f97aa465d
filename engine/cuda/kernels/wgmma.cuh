#pragma once

#include <cstdint>

// The warpgroup's tensor core product: 64 rows of A from registers, tokens (B) from shared memory.
namespace assay::cuda {

// d += A B: A 64 x 16 bf16, the warpgroup's fragments; B 16 x kTokens bf16 in shared memory, k contiguous; d float32.
// keep: 0 starts from zero. Asynchronous: between fence and commit, and the sums may be read only after wait.
template <int kTokens>
struct Wgmma;

// Orders register writes before the products that read them.
__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Descriptor of B with 128 bytes of k a row under the 128-byte swizzle, rows of eight 1024 bytes apart. Adding 2 steps
// 16 columns along k.
__device__ inline uint64_t wgmma_descriptor(uint32_t shared_address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kLeading = uint64_t{1} << 16, kEightRows = uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kEightRows | kLeading | ((shared_address & 0x3FFFF) >> 4);
}

// clang-format off
#define ASSAY_SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define ASSAY_SUMS_8(d, i) ASSAY_SUMS_4(d, i), ASSAY_SUMS_4(d, i + 4)

template <>
struct Wgmma<8> {
  __device__ static void run(float (&d)[4], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %9, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3"
        "}, {%4, %5, %6, %7}, %8, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_4(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<16> {
  __device__ static void run(float (&d)[8], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %13, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7"
        "}, {%8, %9, %10, %11}, %12, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<32> {
  __device__ static void run(float (&d)[16], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %21, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
        "}, {%16, %17, %18, %19}, %20, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<64> {
  __device__ static void run(float (&d)[32], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
        "}, {%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8), ASSAY_SUMS_8(d, 16), ASSAY_SUMS_8(d, 24)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<96> {
  __device__ static void run(float (&d)[48], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %53, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
        "}, {%48, %49, %50, %51}, %52, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8), ASSAY_SUMS_8(d, 16), ASSAY_SUMS_8(d, 24), ASSAY_SUMS_8(d, 32), ASSAY_SUMS_8(d, 40)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<128> {
  __device__ static void run(float (&d)[64], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
        "}, {%64, %65, %66, %67}, %68, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8), ASSAY_SUMS_8(d, 16), ASSAY_SUMS_8(d, 24), ASSAY_SUMS_8(d, 32), ASSAY_SUMS_8(d, 40), ASSAY_SUMS_8(d, 48), ASSAY_SUMS_8(d, 56)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<192> {
  __device__ static void run(float (&d)[96], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %101, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
        "}, {%96, %97, %98, %99}, %100, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8), ASSAY_SUMS_8(d, 16), ASSAY_SUMS_8(d, 24), ASSAY_SUMS_8(d, 32), ASSAY_SUMS_8(d, 40), ASSAY_SUMS_8(d, 48), ASSAY_SUMS_8(d, 56), ASSAY_SUMS_8(d, 64), ASSAY_SUMS_8(d, 72), ASSAY_SUMS_8(d, 80), ASSAY_SUMS_8(d, 88)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

template <>
struct Wgmma<256> {
  __device__ static void run(float (&d)[128], const uint32_t (&a)[4], uint64_t b, int keep) {
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
        "}, {%128, %129, %130, %131}, %132, p, 1, 1, 0;\n}\n"
        : ASSAY_SUMS_8(d, 0), ASSAY_SUMS_8(d, 8), ASSAY_SUMS_8(d, 16), ASSAY_SUMS_8(d, 24), ASSAY_SUMS_8(d, 32), ASSAY_SUMS_8(d, 40), ASSAY_SUMS_8(d, 48), ASSAY_SUMS_8(d, 56), ASSAY_SUMS_8(d, 64), ASSAY_SUMS_8(d, 72), ASSAY_SUMS_8(d, 80), ASSAY_SUMS_8(d, 88), ASSAY_SUMS_8(d, 96), ASSAY_SUMS_8(d, 104), ASSAY_SUMS_8(d, 112), ASSAY_SUMS_8(d, 120)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));
  }
};

#undef ASSAY_SUMS_4
#undef ASSAY_SUMS_8
// clang-format on

}  // namespace assay::cuda
