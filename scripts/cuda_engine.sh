#!/usr/bin/env bash
# cuda_engine.sh OUT [FOLDER]: bench_engine's rows on checkpoints of random weights, the 24B shape and a small one, made in FOLDER (default
# /dev/shm, 15 GB; needs python3 with numpy). Lies in the bundle beside bench_engine. A row that fails or hangs costs no other; JSON goes to OUT.
set -uo pipefail
out=$(mkdir -p "${1:?where to?}" && cd "$1" && pwd) folder=${2:-/dev/shm}
cd "$(dirname "$0")"
if [ -z "${ASSAY_CUBLASLT:-}" ]; then
  ASSAY_CUBLASLT=$(find /usr/local /opt /usr/lib -name 'libcublasLt.so.13*' 2>/dev/null | head -1)
  export ASSAY_CUBLASLT
fi
python3 make_synthetic_checkpoint.py "$folder/assay-24b" --format w4a16
python3 make_synthetic_checkpoint.py "$folder/assay-small" --format w4a16 --layers 30 --hidden 576 --intermediate 1536 --heads 9 --kv-heads 3 \
  --head-dim 64 --vocab 49152 --group-size 64
export ASSAY_BENCH_BACKEND=cuda
status=0
row() {  # NAME SECONDS SHAPE FILTER
  ASSAY_BENCH_W4A16=$folder/assay-$3 timeout "$2" ./bench_engine --benchmark_filter="$4" --benchmark_out="$out/$1.json" --benchmark_out_format=json \
    >"$out/$1.log" 2>&1 || { status=1; tail -3 "$out/$1.log"; }
  grep -E '/(w4a16|bf16)' "$out/$1.log" | cut -c1-220
}
row engine-small 60 small 'prefill_8x1024|decode_batch(1|256)_|serve|score_mmlu'
row engine-prefill-decode 120 24b 'prefill_(8x)?1024|decode_batch|start_up'
row engine-serve 90 24b 'serve'
row engine-mmlu 200 24b 'score_mmlu'
rm -rf "$folder/assay-24b" "$folder/assay-small"
exit $status
