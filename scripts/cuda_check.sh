#!/usr/bin/env bash
# cuda_check.sh OUT: runs the tests, the sanitizers and the kernel benchmarks of the bundle it lies in; logs and JSON go to OUT.
set -uo pipefail
out=$(mkdir -p "${1:?where to?}" && cd "$1" && pwd)
cd "$(dirname "$0")"
if [ -z "${ASSAY_CUBLASLT:-}" ]; then
  ASSAY_CUBLASLT=$(find /usr/local /opt /usr/lib -name 'libcublasLt.so.13*' 2>/dev/null | head -1)
  export ASSAY_CUBLASLT
fi
echo "cuBLASLt: ${ASSAY_CUBLASLT:-none}"
status=0
./cuda_plan_test >"$out/cuda_plan_test.log" 2>&1 || status=1
timeout 120 ./w4a16_test >"$out/w4a16_test.log" 2>&1 || status=1
timeout 240 ./cuda_test --duration=true >"$out/cuda_test.log" 2>&1 || status=1
grep -E "ERROR|FATAL|values:|logged:|TEST CASE|test cases:|assertions:" "$out/cuda_test.log" | head -60
if [ "${SANITIZE:-1}" = 1 ] && command -v compute-sanitizer >/dev/null; then
  cases='*embedding rows*,*rms_norm*,*swiglu*,*bias joins*,*int4 codes*,*queries and keys*,*block copies*,*chunk of logits*,*tokens are drawn*,*as sanitizers need it*,*packed weights made dense*'
  check() {  # NAME TOOL PROGRAM CASES
    timeout 120 compute-sanitizer --tool "$2" --error-exitcode 9 "./$3" -tc="$4" >"$out/$1.log" 2>&1 || status=1
    echo "$1: $(tail -1 "$out/$1.log")"
  }
  check memcheck memcheck cuda_test "$cases,*replayed decoding*"
  check memcheck_w4a16 memcheck w4a16_test 'a:*,b:*,e:*,g:*,k:*'
  check racecheck racecheck cuda_test "$cases"
  check racecheck_w4a16 racecheck w4a16_every_lane_test 'a:*,b:*,g:*,k:*'
fi
for bench in bench_attention bench_small_ops; do
  timeout 150 "./$bench" --benchmark_out="$out/$bench.json" --benchmark_out_format=json 2>"$out/$bench.err" | cut -c1-200
done
exit $status
