"""Runs the same tasks in Assay, exports them as lm-eval's samples files, and keeps the wall clock of each.

run_assay.py ASSAY MODEL_FOLDER TASKS_JSON LIMIT THREADS OUT [LABEL ...]
"""
import json, os, subprocess, sys, time

assay, folder, table, limit, threads, out = sys.argv[1:7]
only = set(sys.argv[7:])
with open(table) as file:
    groups = json.load(file)
for group in groups:
    environment = dict(os.environ)
    if not group.get("packages"):
        environment["ASSAY_DATA_MIRROR"] = "file://" + os.environ["PARITY_MIRROR"]
    chat = group.get("chat", False)
    for task in group["tasks"]:
        label = task + (".chat" if chat else "")
        if only and label not in only:
            continue
        where, database = os.path.join(out, label), os.path.join(out, label + ".db")
        for name in (database, database + "-wal", database + "-shm"):
            if os.path.exists(name):
                os.remove(name)
        command = [assay, "run", "--model", folder, "--dtype", "float32", "--backend", "cpu", "--threads", threads, "--tasks", task,
                   "--limit", limit, "--max-length", str(group["max_length"]), "--db", database, "--quiet", "--accept-findings"]
        if "shots" in group:
            command += ["--num-fewshot", str(group["shots"])]
        if "gen_kwargs" in group:
            command += ["--gen-kwargs", group["gen_kwargs"]]
        if chat:
            command += ["--apply-chat-template", "--fewshot-as-multiturn"]
        begin = time.perf_counter()
        run = subprocess.run(command, env=environment, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
        error = run.stderr.strip().splitlines()[-1:] if run.returncode else []
        if not error:
            export = subprocess.run([assay, "export", "1", "--db", database, "--format", "lm-eval", "--output-path", where],
                                    env=environment, capture_output=True, text=True)
            error = export.stderr.strip().splitlines()[-1:] if export.returncode else []
        with open(os.path.join(out, label + ".assay.json"), "w") as file:
            json.dump({"failed": error[0]} if error else {"seconds": seconds}, file)
        print(label, error[0] if error else f"{seconds:.1f} s", flush=True)
