"""Compares Assay's exported samples with lm-eval's, document by document, and prints a Markdown table.

compare.py TASKS_JSON LIMIT THREADS OUT
"""
import collections, glob, json, os, sys

table, limit, threads, out = sys.argv[1:5]
# Where lm-eval 0.4.13 and Assay differ on purpose (docs/decisions.md).
GPQA_N_SHOT = "lm-eval scores against the answers of a later shuffle of the choices; Assay against the answer that stands in the question asked"
KNOWN = {
    "gpqa_main_n_shot": GPQA_N_SHOT,
    "gpqa_diamond_n_shot": GPQA_N_SHOT,
    "ifeval": "two prompts want `!` or `#` counted: lm-eval counts a letter drawn at random instead",
    "ifeval.chat": "as ifeval",
}

COMMON = {"doc_id", "doc_hash", "prompt_hash", "target_hash", "filter", "resps", "filtered", "filtered_resps", "outcome", "doc", "target",
          "arguments", "metrics"}


def number(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def key(sample):
    return sample["doc_id"], sample["filter"]


def flat(value):
    """Metric values as numbers: a bool is 0 or 1, a list of bools its numbers."""
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flat(v)]
    return [number(value) if not isinstance(value, bool) else float(value)]


class Task:
    def __init__(self, ours, theirs):
        self.pairs = [(ours[k], theirs[k]) for k in sorted(theirs) if k in ours]
        self.missing = len(set(theirs) ^ set(ours))
        self.documents = len({k[0] for k in theirs})
        self.prompts = self.greedy = self.texts = self.extracted = self.scores = self.count = 0
        self.largest, self.values, self.generates = 0.0, 0, False
        self.parted = set()
        for a, b in self.pairs:
            self.compare(a, b)

    def compare(self, a, b):
        self.prompts += a["prompt_hash"] != b["prompt_hash"]
        mine = [r for resps in a["resps"] for r in (resps if isinstance(resps, list) else [resps])]
        for x, y in zip(mine, b["resps"]):
            pair = isinstance(x, list) and len(x) == 2
            first, second = number(x[0] if pair else x), number(y[0] if isinstance(y, list) else y)
            if pair or (first is not None and "." in str(x) and second is not None and not isinstance(y, list) and "." in str(y)
                        and len(mine) == 1 and len(str(x)) < 30):
                self.largest = max(self.largest, abs(first - second))
                self.values += 1
                self.greedy += pair and str(x[1]) != str(y[1])
            else:
                self.generates = True
                text = y[0] if isinstance(y, list) else y
                if x != text:
                    self.parted.add(a["doc_id"])
        if self.generates and a["doc_id"] in self.parted:
            return  # what follows from another text is no other extraction or score
        if self.generates:
            left = a["filtered_resps"][0] if a["filtered_resps"] else None
            right = b["filtered"][0] if b["filtered"] else None
            right = right[0] if isinstance(right, list) and right else right
            self.extracted += str(left) != str(right)
        for name in b:
            if name in COMMON or name not in a:
                continue
            x, y = flat(a[name]), flat(b[name])
            if isinstance(b[name], list) and all(isinstance(v, bool) for v in b[name]):
                y = [sum(y) / len(y), float(len(y))]  # instructions followed: Assay stores their share and number
            close = len(x) == len(y) and all(p is not None and q is not None and abs(p - q) <= 1e-3 + 1e-4 * abs(q)
                                             for p, q in zip(x, y))
            self.count += 1
            self.scores += not close


def samples_of(folder):
    files = sorted(glob.glob(os.path.join(folder, "**", "samples_*.jsonl"), recursive=True))
    with open(files[-1], encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    with open(table) as file:
        groups = json.load(file)
    rows, notes, theirs_s, ours_s = [], [], 0, 0
    total = collections.Counter()
    largest = 0.0
    for group in groups:
        for task in group["tasks"]:
            label = task + (".chat" if group.get("chat") else "")
            parts = [os.path.join(out, f"{label}.{who}.json") for who in ("assay", "lm_eval")]
            if not all(os.path.exists(p) for p in parts):
                continue
            ours, theirs = (json.load(open(p)) for p in parts)
            failed = ours.get("failed") or theirs.get("failed")
            if failed:
                rows.append(f"| {label} | | | | | | | | {failed.replace('|', '/')} | |")
                continue
            result = Task({key(s): s for s in samples_of(os.path.join(out, label))}, {key(s): s for s in theirs["samples"]})
            largest = max(largest, result.largest)
            theirs_s, ours_s = theirs_s + theirs["seconds"], ours_s + ours["seconds"]
            total.update(documents=result.documents, prompts=result.prompts + result.missing, values=result.values, greedy=result.greedy,
                         parted=len(result.parted), extracted=result.extracted, scores=result.scores)
            shots = group.get("shots", "default")
            if result.scores and label in KNOWN:
                notes.append(f"- {label}, scores: {KNOWN[label]}.")
            rows.append(f"| {label} | {shots} | {result.documents} | {result.prompts + result.missing} | "
                        f"{f'{result.largest:.1e} ({result.values})' if result.values else ''} | {result.greedy if result.values else ''} | "
                        f"{len(result.parted) if result.generates else ''} | {result.extracted if result.generates else ''} | {result.scores} | "
                        f"{theirs['seconds']:.1f} | {ours['seconds']:.1f} |")
    print(f"# The same documents in lm-eval 0.4.13 and in Assay\n\nSmolLM2-135M-Instruct, float32 on both sides, {threads} threads, the first {limit} "
          "documents of each task, lm-eval's own task definitions on\nthe same local data (`tests/parity/run.sh`). Shots are the task's own where the "
          "table says default. Generations are cut at 32 tokens.\n")
    print("| task | shots | documents | prompts unequal | largest loglikelihood difference (values) | is_greedy unequal | texts that part | "
          "extracted answers unequal | scores unequal | lm-eval s | Assay s |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(rows))
    print(f"\nIn all {total['documents']} documents: {total['prompts']} prompts unequal; {total['values']} loglikelihoods, largest difference "
          f"{largest:.1e}, {total['greedy']} is_greedy unequal;\n{total['parted']} generated texts part; of those that do not, {total['extracted']} extracted "
          f"answers and {total['scores']} scores are unequal.\nWall clock: lm-eval {theirs_s:.0f} s (its model loaded once, not counted), Assay {ours_s:.0f} s "
          "(a process a task, loading counted).")
    if notes:
        print("\nExplained differences:\n\n" + "\n".join(notes))


main()
