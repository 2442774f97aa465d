#!/usr/bin/env bash
# The recorded greedy completions of Qwen2.5-Coder-1.5B-Instruct on HumanEval+ (Transformers, float32; evalplus' verdicts), asked again in float32:
# prompts and completions must be equal, a completion may branch only where the record's two best logits nearly tie, and verdicts of equal
# completions must be equal. Needs ../shared and the checkpoint of `make demo MODEL=coder`. BACKEND: cpu (default) or cuda.
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
python3 - "$records" "$out/run.db" <<'P'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[2])
ours = {}
for doc, item, text, prompt in db.execute(
        "select i.doc_id, i.id, c.text, t.bytes from items i join completions c on c.item_id = i.id and c.sample_index = 0 "
        "join requests r on r.item_id = i.id and r.request_index = 0 join texts t on t.id = r.context_id"):
    scores = {}
    for metric, value in db.execute("select metric, value from scores where doc_id = ?", (doc,)):
        scores[metric] = value
    ours[doc] = (text, prompt.decode() if isinstance(prompt, bytes) else prompt, scores)
wrong = same = branched = 0
for line in open(sys.argv[1]):
    want = json.loads(line)
    text, prompt, scores = ours[want["index"]]
    problems = []
    if prompt != want["prompt"]:
        problems.append("prompt differs")
    equal = text == want["completion"]
    if not equal:
        common = next((i for i, (a, b) in enumerate(zip(text, want["completion"])) if a != b), min(len(text), len(want["completion"])))
        gap = want["greedy_check"]["min_gap"]
        if gap < 0.02:
            branched += 1
        else:
            problems.append(f"completion branches at character {common}, where the least gap of logits recorded is {gap}")
    for metric, verdict in (("pass@1,base", want["base"]), ("pass@1,plus", "pass" if want["score_plus"] else "fail")):
        if equal and scores.get(metric) != float(verdict == "pass"):
            problems.append(f"{metric} is {scores.get(metric)}, recorded {verdict}")
    same += equal
    wrong += bool(problems)
    print(f"{'FAIL' if problems else 'ok  '} {want['task_id']}: {'equal' if equal else 'branched'}, base {want['base']}, plus {want['plus']}"
          + "".join(f"\n       {problem}" for problem in problems))
print(f"{same} of {len(ours)} completions equal, {branched} branch at a recorded near-tie, {wrong} wrong")
sys.exit(wrong > 0)
P
