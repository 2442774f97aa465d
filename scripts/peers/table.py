"""The table of scripts/bench_peers.sh from the files it left: table.py FOLDER"""
import json, os, sys

folder = sys.argv[1]
load = lambda name: json.load(open(os.path.join(folder, name + ".json")))
engine = {}
for name in ("engine-before", "engine-after"):
    for row in load(name)["benchmarks"]:
        key = "/".join(row["run_name"].split("/")[:2])
        value = row.get("tokens_per_s", row["real_time"])
        engine[key] = max(engine.get(key, 0), value) if "tokens_per_s" in row else min(engine.get(key, 1e9), value)
llama, bf16, f32, lm_eval = load("llama_cpp"), load("transformers_bf16"), load("transformers_f32"), load("lm_eval")
hf = max(bf16["prefill_512"], f32["prefill_512"])
rows = [
    ("prefill bf16, 512 tokens, tok/s", engine["prefill_512/bf16"], "Transformers, better of bf16 and f32", hf),
    ("prefill W4A16, 512 tokens, tok/s", engine["prefill_512/w4a16"], "llama.cpp Q4_1", llama["prefill_512"]),
    ("prefill W4A16, 1024 tokens, tok/s", engine["prefill_1024/w4a16"], "", None),
    ("decode W4A16, batch 1, context 16, tok/s", engine["decode_batch1_context16/w4a16"], "llama.cpp Q4_1", llama["decode_16"]),
    ("decode W4A16, batch 1, context 512, tok/s", engine["decode_batch1_context512/w4a16"], "llama.cpp Q4_1", llama["decode_512"]),
    ("decode bf16, batch 1, context 16, tok/s", engine["decode_batch1_context16/bf16"], "Transformers bf16", bf16["decode_16"]),
    ("decode W4A16, batch 16, context 16, tok/s", engine["decode_batch16_context16/w4a16"], "", None),
]
for name, task in (("mmlu", "peer_mmlu_anatomy"), ("hellaswag", "peer_hellaswag")):
    run = load("ours-" + name)
    peer = lm_eval[task]
    rate = peer["questions"] / run["seconds"]
    shots = {"mmlu": "MMLU anatomy 5-shot", "hellaswag": "HellaSwag 10-shot"}[name]
    rows.append((f"{shots}, {peer['questions']} questions, questions/s", rate, "lm-eval 0.4.13 (hf, float32)", peer["questions_per_s"]))
rows.append(("start-up W4A16, ms", engine["start_up/w4a16"], "", None))
peak = load("ours-hellaswag")["peak_memory_bytes"]
rows.append(("peak resident memory of the HellaSwag run, MB", peak / 1e6, "", None))
print("| what | Assay | peer | its figure | ratio |\n| --- | ---: | --- | ---: | ---: |")
for what, ours, peer, theirs in rows:
    print(f"| {what} | {ours:,.1f} | {peer} | {'' if theirs is None else f'{theirs:,.2f}'} | {'' if theirs is None else f'{ours / theirs:.1f}x'} |")
json.dump([{"what": w, "assay": o, "peer": p, "figure": t} for w, o, p, t in rows], open(os.path.join(folder, "peers.json"), "w"), indent=1)
