#!/usr/bin/env bash
# Compares with recorded answers of lm-eval 0.4.13, document by document: in float32 within 0.002 + 1e-4 x |value|, prompts and answers equal;
# in bfloat16 a mean difference of at most 0.06. Needs ../shared. Arguments: labels (default: every task of this program).
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${ASSAY_SHARED:-../shared}
[ -d "$shared/oracle" ] || { echo "golden: skipped, no $shared/oracle"; exit 0; }
. scripts/models.sh
export ASSAY=$assay
out=build/golden
mkdir -p "$out"
tasks=("$@")
if [ ${#tasks[@]} -eq 0 ]; then
  tasks=(arc_easy.plain arc_easy.chat arc_challenge.plain arc_challenge.chat arc_challenge_ml512.plain hellaswag.plain hellaswag.chat
    winogrande.plain winogrande.chat mmlu.plain mmlu.chat mmlu_professional_law_ml512.plain gsm8k_5shot.plain gsm8k_5shot.chat
    gsm8k_5shot_ml768.plain gsm8k_8shot.plain gsm8k_8shot.chat)
fi
echo "float32:"
MODEL=$bf16 DTYPE=float32 COMPARE=--text "$shared/oracle/run_lm_eval_records.sh" "$shared/oracle/lm_eval/golden" "$out/float32" "${tasks[@]}"
echo "bfloat16 (the mean difference is what counts):"
MODEL=$bf16 DTYPE=bfloat16 COMPARE="--abs 1.0 --rel 0.01" "$shared/oracle/run_lm_eval_records.sh" "$shared/oracle/lm_eval/golden" "$out/bfloat16" "${tasks[@]}" \
  | tee "$out/bfloat16.txt" || true
python3 - "$out/bfloat16.txt" <<'P'
import re, sys
text = open(sys.argv[1]).read()
found = re.search(r"mean difference ([0-9.]+)", text)
mean = float(found.group(1)) if found else float("inf")
print(f"bfloat16 mean loglikelihood difference {mean:.4f}, allowed 0.06")
sys.exit(mean > 0.06)
P
