#!/usr/bin/env bash
# The recorded greedy completions of Qwen2.5-Coder-1.5B-Instruct on HumanEval+ (Transformers, float32; evalplus' verdicts), asked again in float32:
# prompts, completions and verdicts must be equal; where a completion branches, the recorded near-ties of its logits are printed beside. Needs ../shared and the checkpoint of `make demo MODEL=coder`. BACKEND: cpu (default) or cuda.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${ASSAY_SHARED:-../shared}
records=$shared/oracle/code/humaneval_qwen_greedy.jsonl
[ -f "$records" ] || { echo "code-greedy: skipped, no $records"; exit 0; }
. scripts/models.sh
model=$home/models/qwen2.5-coder-1.5b-instruct-bf16
[ -d "$model" ] || { echo "code-greedy: skipped, no $model: run \`make demo MODEL=coder\` first"; exit 0; }
export ASSAY_DATA_MIRROR=${ASSAY_DATA_MIRROR:-file://$(cd "$shared/data" && pwd)}
out=build/golden/code_greedy
rm -rf "$out" && mkdir -p "$out"
samples=$(python3 -c 'import json, sys; print(json.dumps({"humaneval_plus": [json.loads(line)["index"] for line in open(sys.argv[1])]}))' "$records")
tokens=$(python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["max_new_tokens"])' "$records")
"$assay" run --backend "${BACKEND:-cpu}" --dtype float32 --model "$model" --tasks humaneval_plus --apply-chat-template --samples "$samples" \
  --gen-kwargs "temperature=0,max_gen_toks=$tokens" --db "$out/run.db" --json >"$out/summary.json" 2>"$out/stderr.log" || { tail -3 "$out/stderr.log" >&2; exit 1; }
"$assay" export 1 --db "$out/run.db" --format lm-eval --output-path "$out" >/dev/null
python3 - "$records" "$out" <<'P'
import glob, json, sys
ours = {}
for line in open(glob.glob(sys.argv[2] + "/*/samples_humaneval_plus_*.jsonl")[0]):
    row = json.loads(line)
    answer = ours.setdefault(row["doc_id"], {"prompt": row["arguments"]["gen_args_0"]["arg_0"], "text": row["resps"][0][0]})
    answer[row["filter"]] = row["pass@1"]
wrong = same = 0
for line in open(sys.argv[1]):
    want = json.loads(line)
    got = ours[want["index"]]
    problems = [] if got["prompt"] == want["prompt"] else ["prompt differs"]
    equal = got["text"] == want["completion"]
    if not equal:
        at = next((i for i, (a, b) in enumerate(zip(got["text"], want["completion"])) if a != b), min(len(got["text"]), len(want["completion"])))
        problems.append(f"branches at character {at}; recorded gaps below 0.1, by token: {want['greedy_check']['gaps_below_0_1']}")
    for side, verdict in (("base", want["base"]), ("plus", "pass" if want["score_plus"] else "fail")):
        if equal and got[side] != float(verdict == "pass"):
            problems.append(f"{side} is {got[side]}, recorded {verdict}")
    same += equal
    wrong += bool(problems)
    print(f"{'FAIL' if problems else 'ok  '} {want['task_id']}: base {want['base']}, plus {want['plus']}"
          + "".join(f"\n       {problem}" for problem in problems))
print(f"{same} of {len(ours)} completions equal, {wrong} wrong")
sys.exit(wrong > 0)
P
