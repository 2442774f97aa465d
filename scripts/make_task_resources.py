#!/usr/bin/env python3
"""Write tasks/resources from the public files they are made of.

    make_task_resources.py --mirror DIR --langdetect DIR --punkt DIR [--out tasks/resources]

--mirror      a folder with bbh/cot-prompts (what ASSAY_DATA_MIRROR points at)
--langdetect  the package langdetect 1.0.9, unpacked: the folder that holds profiles and utils
--punkt       punkt_tab/english as the package llama-index-core 0.14.25 carries it under _static/nltk_cache/tokenizers

Writes bbh_shots.json, ifeval_languages.json.gz and ifeval_english.json.gz, the same bytes every time. Standard library only.
"""
import argparse
import gzip
import json
import os
import sys

THINK = "\nA: Let's think step by step."


def bbh_shots(mirror):
    folder = os.path.join(mirror, "bbh", "cot-prompts")
    subtasks, canary = {}, None
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            canary, body = f.read().split("\n-----\n", 1)
        description, *shots = body.rstrip("\n").split("\n\nQ: ")
        pairs = []
        for shot in shots:
            question, mark, answer = shot.partition(THINK)
            if not mark or answer[0] not in "\n ":  # one file goes on in the same line
                sys.exit(f"{name}: a shot without an answer")
            answer = answer[1:]
            pairs.append({"input": question, "target": answer})
        if len(pairs) != 3:
            sys.exit(f"{name}: {len(pairs)} shots, expected 3")
        subtasks[name[:-4]] = {"description": description, "shots": pairs}
    return {"canary": canary, "subtasks": subtasks}


def properties(path):
    values = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                key, _, value = line.partition("=")
                values[key.strip()] = json.loads('"' + value.strip().replace('"', '\\"') + '"')
    return values


def languages(package):
    words = properties(os.path.join(package, "utils", "messages.properties"))
    out = {
        "latin1_excluded": words["NGram.LATIN1_EXCLUDE"],
        "kanji": [words[key] for key in sorted(words) if key.startswith("NGram.KANJI_")],
        "profiles": {},
    }
    folder = os.path.join(package, "profiles")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            profile = json.load(f)
        if profile["name"] != name:
            sys.exit(f"{name}: names itself {profile['name']}")
        grams = {gram: n for gram, n in sorted(profile["freq"].items()) if 1 <= len(gram) <= 3}
        out["profiles"][name] = {"totals": profile["n_words"], "counts": grams}
    return out


def english(folder):
    def lines(name):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            return f.read().splitlines()

    context = dict(line.split("\t") for line in lines("ortho_context.tab"))
    return {
        "abbreviations": sorted(lines("abbrev_types.txt")),
        "starters": sorted(lines("sent_starters.txt")),
        "collocations": sorted(line.split("\t") for line in lines("collocations.tab")),
        "contexts": {word: int(flags) for word, flags in sorted(context.items())},
    }


def write(path, value, packed):
    text = json.dumps(value, ensure_ascii=False, indent=None if packed else 1, separators=(",", ":") if packed else None)
    data = text.encode("utf-8")
    if packed:
        data = gzip.compress(data, 9, mtime=0)
    else:
        data += b"\n"
    with open(path, "wb") as f:
        f.write(data)
    print(path, len(data), "bytes")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("mirror", "langdetect", "punkt"):
        options.add_argument("--" + name, required=True)
    options.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "tasks", "resources"))
    chosen = options.parse_args()
    os.makedirs(chosen.out, exist_ok=True)
    write(os.path.join(chosen.out, "bbh_shots.json"), bbh_shots(chosen.mirror), False)
    write(os.path.join(chosen.out, "ifeval_languages.json.gz"), languages(chosen.langdetect), True)
    write(os.path.join(chosen.out, "ifeval_english.json.gz"), english(chosen.punkt), True)


if __name__ == "__main__":
    main()
