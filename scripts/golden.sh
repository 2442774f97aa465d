#!/usr/bin/env bash
# Compares with recorded answers of lm-eval 0.4.13, document by document: in float32 within 0.002 + 1e-4 x |value|, prompts and answers equal;
# in bfloat16 a mean difference of at most 0.06. Needs ../shared. Arguments: labels (default: all records).
# MODEL=coder: the records of Qwen2.5-Coder-1.5B-Instruct, after `make demo MODEL=coder` made its checkpoint. BACKEND: cpu (default) or cuda.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${ASSAY_SHARED:-../shared}
[ -d "$shared/oracle" ] || { echo "golden: skipped, no $shared/oracle"; exit 0; }
. scripts/models.sh
export ASSAY=$assay BACKEND=${BACKEND:-cpu}
records=$shared/oracle/lm_eval
if [ "${MODEL:-}" = coder ]; then
  records=$shared/oracle/lm_eval_qwen bf16=$home/models/qwen2.5-coder-1.5b-instruct-bf16
  [ -d "$bf16" ] || { echo "golden: no $bf16: run \`make demo MODEL=coder\` first" >&2; exit 66; }
fi
out=build/golden/$(basename "$bf16")
mkdir -p "$out"
golden=$records/golden
tasks=("$@")
[ ${#tasks[@]} -gt 0 ] || mapfile -t tasks < <(cd "$golden" && ls | sed 's/\.jsonl.*//' | sort -u)
echo "float32:"
MODEL=$bf16 DTYPE=float32 COMPARE=--text "$shared/oracle/run_lm_eval_records.sh" "$golden" "$out/float32" "${tasks[@]}"
# Generations branch in bfloat16, and long texts only repeat what short ones show.
mapfile -t tasks < <(printf '%s\n' "${tasks[@]}" | grep -vE '^(gpqa_.*_cot|mmlu_pro|wikitext)')
[ ${#tasks[@]} -gt 0 ] || exit 0
echo "bfloat16 (the mean difference is what counts):"
MODEL=$bf16 DTYPE=bfloat16 COMPARE="--abs 1.0 --rel 0.01" "$shared/oracle/run_lm_eval_records.sh" "$golden" "$out/bfloat16" "${tasks[@]}" \
  | tee "$out/bfloat16.txt" || true
python3 - "$out/bfloat16.txt" <<'P'
import re, sys
text = open(sys.argv[1]).read()
found = re.search(r"mean difference ([0-9.]+)", text)
mean = float(found.group(1)) if found else float("inf")
print(f"bfloat16 mean loglikelihood difference {mean:.4f}, allowed 0.06")
sys.exit(mean > 0.06)
P
