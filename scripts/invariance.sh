#!/usr/bin/env bash
# The same questions in three orders, under three token budgets, with the prefix tree off, and on one thread: every stored answer must be
# equal byte for byte. Arguments: --short for a smaller slice.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/models.sh
limit=arc_easy=24,hellaswag=12,winogrande=16,mmlu=1
[ "${1:-}" = --short ] && limit=arc_easy=6,hellaswag=4,winogrande=4,mmlu_anatomy=3
tasks=arc_easy,hellaswag,winogrande,mmlu
[ "${1:-}" = --short ] && tasks=arc_easy,hellaswag,winogrande,mmlu_anatomy
out=build/invariance
rm -rf "$out"; mkdir -p "$out"

# answers NAME MODEL OPTIONS... : one SHA-256 over the samples files of a run.
answers() {
  local name=$1 model=$2; shift 2
  "$assay" run --model "$model" --tasks "$tasks" --num-fewshot mmlu=2,1 --split arc_easy=validation \
    --fewshot-split arc_easy=validation,hellaswag=validation,winogrande=validation --limit "$limit" --db "$out/$name.db" --quiet --json "$@" >"$out/$name.json"
  "$assay" export 1 --db "$out/$name.db" --output-path "$out/$name" >/dev/null
  (cd "$out/$name" && find . -name 'samples_*' | sort | sed 's/_20[0-9T.:-]*jsonl$//' >names.txt && find . -name 'samples_*' | sort | xargs cat) | sha256sum | cut -d' ' -f1
}

status=0
for model in "$bf16" "$w4a16"; do
  want=""
  check() {
    local label=$1; shift
    local got; got=$(answers "$(basename "$model")-$label" "$model" "$@")
    [ -n "$want" ] || want=$got
    if [ "$got" = "$want" ]; then echo "equal    $(basename "$model") $label"; else echo "DIFFERS  $(basename "$model") $label"; status=1; fi
  }
  check natural
  check reverse --item-order reverse
  check shuffled --item-order shuffled:7
  check budget64 --max-batch-tokens 64
  check budget301 --max-batch-tokens 301
  check budget2048 --max-batch-tokens 2048
  check no-tree --no-prefix-tree
  check small-kv --kv-bytes 96M
  check one-thread --threads 1
done
[ $status = 0 ] && echo "invariance: every answer equal, byte for byte"
exit $status
