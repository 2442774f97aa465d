#!/usr/bin/env bash
# Collects the CUDA programs, stripped, and the libraries they need into build/cuda/bundle, to run on another machine that has
# an NVIDIA driver and the CUDA 13 toolkit (cuBLASLt). What every Linux machine with a compiler has (libc, libstdc++) stays out.
# The tar beside it holds the same.
set -euo pipefail
cd "$(dirname "$0")/.."
from=build/cuda bundle=build/cuda/bundle

rm -rf "$bundle"
mkdir -p "$bundle/lib"
for program in assay tests/cuda_test tests/cuda_plan_test tests/engine_test bench/bench_attention bench/bench_small_ops bench/bench_gemm \
  tests/w4a16_test tests/w4a16_every_lane_test bench/bench_engine; do
  [ -x "$from/$program" ] || continue
  strip -o "$bundle/$(basename "$program")" "$from/$program"
done
cp scripts/cuda_check.sh scripts/cuda_engine.sh scripts/make_synthetic_checkpoint.py "$bundle/"
for program in "$bundle"/*; do
  [ -f "$program" ] && [ "${program%.*}" = "$program" ] || continue
  LD_LIBRARY_PATH="$bundle/lib" ldd "$program" | awk '$3 ~ /^\// { print $1, $3 }'
done | sort -u | while read -r name path; do
  case "$name" in
    libc.so* | libm.so* | libdl.so* | libpthread.so* | librt.so* | ld-linux* | libstdc++.so* | libgcc_s.so*) continue ;;
  esac
  cp -Lf "$path" "$bundle/lib/$name" 2>/dev/null || true
done
strip --strip-unneeded "$bundle"/lib/*.so* 2>/dev/null || true
tar -C build/cuda -cJf build/cuda/bundle.tar.xz bundle
du -sh "$bundle" build/cuda/bundle.tar.xz
