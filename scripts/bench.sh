#!/usr/bin/env bash
# Runs every benchmark binary; Google Benchmark JSON lands under build/bench, a readable table on stdout.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/models.sh
mkdir -p build/bench
for bench in build/release/bench/bench_*; do
  [ -x "$bench" ] || continue
  name=$(basename "$bench")
  ASSAY_BENCH_MODEL=$bf16 ASSAY_BENCH_BF16=$bf16 ASSAY_BENCH_W4A16=$w4a16 "$bench" --benchmark_out="build/bench/$name.json" --benchmark_out_format=json "$@"
done
