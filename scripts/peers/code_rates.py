#!/usr/bin/env python3
"""Time `assay grade` beside evalplus.evaluate: the same samples, the same machine, one after the other, and compare verdicts.

    code_rates.py --assay build/release/assay --evalplus-python PYTHON --data FOLDER [--python PYTHON] [--samples-per-problem 5]

--data             a folder with humanevalplus/HumanEvalPlus.jsonl.gz
--evalplus-python  an interpreter that has evalplus 0.3.1
--python           the interpreter that Assay runs programs in

The samples are the reference solutions, every fifth of them with its last line changed, so that some programs fail. evalplus'
ground truth is computed in a first run that is not timed; Assay computes it in the timed one. Prints one JSON object.
"""
import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time


def samples_of(problems, count):
    for problem in problems:
        program = problem["prompt"] + problem["canonical_solution"]
        for i in range(count):
            yield {"task_id": problem["task_id"], "solution": program if i < count - 1 else program + "\n" + problem["entry_point"] + " = None\n"}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--assay", required=True)
    options.add_argument("--evalplus-python", required=True)
    options.add_argument("--data", required=True)
    options.add_argument("--python", default="")
    options.add_argument("--samples-per-problem", type=int, default=5)
    chosen = options.parse_args()
    path = os.path.abspath(os.path.join(chosen.data, "humanevalplus", "HumanEvalPlus.jsonl.gz"))
    with gzip.open(path, "rt", encoding="utf-8") as f:
        problems = [json.loads(line) for line in f]
    cores = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        def write(name, count):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                for sample in samples_of(problems, count):
                    f.write(json.dumps(sample) + "\n")
            return os.path.join(folder, name)

        warm, file = write("warm.jsonl", 1), write("samples.jsonl", chosen.samples_per_problem)
        environment = dict(os.environ, HUMANEVAL_OVERRIDE_PATH=path, HOME=folder, XDG_CACHE_HOME=folder)
        evaluate = [chosen.evalplus_python, "-m", "evalplus.evaluate", "--dataset", "humaneval", "--parallel", str(cores), "--samples"]
        subprocess.run(evaluate + [warm], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        subprocess.run(evaluate + [file], env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        evalplus_s = time.monotonic() - begin
        with open(file.replace(".jsonl", "_eval_results.json"), encoding="utf-8") as f:
            results = json.load(f)["eval"]

        verdicts = os.path.join(folder, "verdicts.jsonl")
        command = [chosen.assay, "grade", "humaneval_plus", file, "--profile", "card-2025-04", "--out", verdicts, "--json"]
        if chosen.python:
            command += ["--python", chosen.python]
        mirror = "file://" + os.path.abspath(chosen.data)
        begin = time.monotonic()
        ran = subprocess.run(command, env=dict(os.environ, ASSAY_DATA_MIRROR=mirror), stdout=subprocess.PIPE, check=True)
        assay_s = time.monotonic() - begin
        seen, equal, total = {}, 0, 0
        with open(verdicts, encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                index = seen.get(row["task_id"], 0)
                seen[row["task_id"]] = index + 1
                theirs = results[row["task_id"]][index]
                total += 1
                equal += all((row[name] == "pass") == (theirs[name + "_status"] == "pass") for name in ("base", "plus"))
    print(json.dumps({"programs": total, "cores": cores, "evalplus_s": round(evalplus_s, 1), "assay_s": round(assay_s, 1),
                      "ratio": round(evalplus_s / assay_s, 2), "equal_verdicts": equal,
                      "isolation": json.loads(ran.stdout)["sandbox"]["isolation"]}))


if __name__ == "__main__":
    sys.exit(main())
