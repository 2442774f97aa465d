#!/usr/bin/env python3
"""Time `assay grade` beside evalplus.evaluate: the same samples, the same machine, one after the other, and compare verdicts.

    code_rates.py --assay build/release/assay --evalplus-python PYTHON --data FOLDER [--recorded FILE] [--python PYTHON]
                  [--samples-per-problem 5]

--data             a folder with humanevalplus/HumanEvalPlus.jsonl.gz
--evalplus-python  an interpreter that has evalplus 0.3.1
--recorded         recorded programs (../shared/oracle/code/verdicts_humaneval.jsonl.gz), used for the problems that it has
--python           the interpreter that Assay runs programs in

Five programs a problem: its reference solution, and four that were recorded or, where none were, are the reference with one
comparison, number, operator or return value changed (some of which still pass). Each side computes the references' answers in a
first run over the reference solutions alone, and finds them on disk in the second, compared one. Prints one JSON object.
"""
import argparse
import ast
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time


class Change(ast.NodeTransformer):
    """Changes the n-th place of one kind that it comes by."""
    SWAPS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
             ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.Add}

    def __init__(self, kind, n):
        self.kind, self.left = kind, n

    def here(self, kind):
        self.left -= kind == self.kind
        return kind == self.kind and self.left == -1

    def visit_Compare(self, node):
        if type(node.ops[0]) in self.SWAPS and self.here("compare"):
            node.ops[0] = self.SWAPS[type(node.ops[0])]()
        return self.generic_visit(node)

    def visit_BinOp(self, node):
        if type(node.op) in self.SWAPS and self.here("operator"):
            node.op = self.SWAPS[type(node.op)]()
        return self.generic_visit(node)

    def visit_Constant(self, node):
        if type(node.value) is int and self.here("number"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_Return(self, node):
        if node.value is not None and self.here("return"):
            node.value = ast.List([node.value], ast.Load())
        return self.generic_visit(node)


def variants(program):
    tree = ast.unparse(ast.parse(program))
    for n in range(8):
        for kind in ("return", "compare", "number", "operator"):
            changed = ast.unparse(ast.fix_missing_locations(Change(kind, n).visit(ast.parse(program))))
            if changed != tree:
                yield changed


def recorded_programs(path):
    """By task id, without what hangs on the evaluator's machine or attacks it."""
    programs = {}
    if path:
        with gzip.open(path, "rt", encoding="utf-8") as f:
            for row in map(json.loads, f):
                stable = row["stability"] == "stable" and not row["env_dependent"]
                if stable and row["kind"] != "canonical" and not row["kind"].startswith("h:"):
                    programs.setdefault(row["task_id"], []).append(row["solution"])
    return programs


def samples_of(problems, recorded, count):
    for problem in problems:
        program = problem["prompt"] + problem["canonical_solution"]
        programs = [program] + recorded.get(problem["task_id"], [])
        more = variants(program)
        while len(programs) < count:
            programs.append(next(more, program))
        for one in programs[:count]:
            yield {"task_id": problem["task_id"], "solution": one}


def timed(command, environment):
    begin = time.monotonic()
    ran = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin, ran.stdout


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--assay", required=True)
    options.add_argument("--evalplus-python", required=True)
    options.add_argument("--data", required=True)
    options.add_argument("--recorded", default="")
    options.add_argument("--python", default="")
    options.add_argument("--samples-per-problem", type=int, default=5)
    chosen = options.parse_args()
    path = os.path.abspath(os.path.join(chosen.data, "humanevalplus", "HumanEvalPlus.jsonl.gz"))
    with gzip.open(path, "rt", encoding="utf-8") as f:
        problems = [json.loads(line) for line in f]
    recorded = recorded_programs(chosen.recorded)
    cores = os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        def write(name, count):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                for sample in samples_of(problems, recorded, count):
                    f.write(json.dumps(sample) + "\n")
            return os.path.join(folder, name)

        warm, file = write("warm.jsonl", 1), write("samples.jsonl", chosen.samples_per_problem)
        environment = dict(os.environ, HUMANEVAL_OVERRIDE_PATH=path, HOME=folder, XDG_CACHE_HOME=folder)
        evaluate = [chosen.evalplus_python, "-m", "evalplus.evaluate", "--dataset", "humaneval", "--parallel", str(cores), "--samples"]
        evalplus_first_s, _ = timed(evaluate + [warm], environment)
        evalplus_s, _ = timed(evaluate + [file], environment)
        with open(file.replace(".jsonl", "_eval_results.json"), encoding="utf-8") as f:
            results = json.load(f)["eval"]

        verdicts = os.path.join(folder, "verdicts.jsonl")
        more = ["--profile", "card-2025-04", "--out", verdicts, "--json"] + (["--python", chosen.python] if chosen.python else [])
        ours = dict(os.environ, ASSAY_DATA_MIRROR="file://" + os.path.abspath(chosen.data), XDG_CACHE_HOME=folder)
        ours.pop("ASSAY_HOME", None)
        grade = [chosen.assay, "grade", "humaneval_plus"]
        assay_first_s, _ = timed(grade + [warm] + more, ours)
        assay_s, printed = timed(grade + [file] + more, ours)
        seen, equal, total, passing, differ = {}, 0, 0, 0, []
        with open(verdicts, encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                index = seen.get(row["task_id"], 0)
                seen[row["task_id"]] = index + 1
                theirs = results[row["task_id"]][index]
                total += 1
                passing += row["base"] == "pass" and row["plus"] == "pass"
                same = all((row[name] == "pass") == (theirs[name + "_status"] == "pass") for name in ("base", "plus"))
                equal += same
                if not same:
                    differ.append({"program": f"{row['task_id']}[{index}]", "evalplus": [theirs["base_status"], theirs["plus_status"]],
                                   "assay": [row["base"], row["plus"]]})
    print(json.dumps({"programs": total, "cores": cores, "evalplus_s": round(evalplus_s, 1), "assay_s": round(assay_s, 1),
                      "ratio": round(evalplus_s / assay_s, 2), "passing": passing, "equal_verdicts": equal, "differ": differ,
                      "evalplus_first_s": round(evalplus_first_s, 1), "assay_first_s": round(assay_first_s, 1),
                      "isolation": json.loads(printed)["sandbox"]["isolation"]}))


if __name__ == "__main__":
    sys.exit(main())
