#!/usr/bin/env bash
# cuda_accuracy.sh ASSAY BF16 W4A16 OUT: both checkpoints on the GPU over the whole suite openllm-v1 (MMLU 5-shot, HellaSwag, Winogrande, ARC,
# TruthfulQA, GSM8K; plain prompts), no question left out. Leaves the recovery table as Markdown and JSON, the
# wall clock and the database in OUT. Data comes from ASSAY_DATA_MIRROR, the cache or the packages. ASSAY_TASKS: these instead of the suite.
set -euo pipefail
assay=$1 bf16=$2 w4a16=$3 out=$4
mkdir -p "$out"
name=$(basename "$bf16") && name=${name%-bf16}
db=$out/$name.db
rm -f "$db"*
what=(--suite openllm-v1 --fewshot-split hellaswag=validation) pair="1 2"  # a suite asks the baseline first
if [ -n "${ASSAY_TASKS:-}" ]; then what=(--tasks "$ASSAY_TASKS") pair="2 1"; fi
began=$(date +%s.%N)
"$assay" run "${what[@]}" --baseline "$bf16" --model "$w4a16" --backend "${BACKEND:-cuda}" --db "$db" ${ASSAY_RUN_OPTIONS:-} 2>"$out/$name.log" | tee "$out/$name.txt"
ended=$(date +%s.%N)
"$assay" compare $pair --db "$db" --format markdown >"$out/$name.md" 2>>"$out/$name.log" || true
echo "$name: both models, $(awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.1f", b - a }') s" | tee -a "$out/$name.txt"
