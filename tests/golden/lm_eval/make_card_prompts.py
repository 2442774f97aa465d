#!/usr/bin/env python3
"""Record what lm-eval of spring 2025 sends, as digests: card_prompts.json beside this file, for the profile card-2025-04.

    pip download --no-deps lm_eval==0.4.8 && unzip lm_eval-0.4.8-py3-none-any.whl -d OLD && : > OLD/lm_eval/models/__init__.py
    python make_card_prompts.py OLD DATA CHECKPOINT

OLD         the unpacked package; its model classes are not needed, and not imported
DATA        a mirror folder with MANIFEST.json (mmlu_pro, gpqa, winogrande, arc)
CHECKPOINT  a folder with a tokenizer and its chat template (SmolLM2-135M-Instruct)

0.4.8 is the last release before the commit that the card's figures come from; between the two MMLU-Pro's token limit grew, and no
prompt changed. Each entry: task, mode (plain, multi, single), system instruction, doc_id, choice, SHA-256 of the context and its
continuation. GPQA's questions are unpacked into a private temporary folder that is removed at the end.
"""
import hashlib
import json
import os
import random
import sys
import tempfile
import zipfile

OLD, DATA, CHECKPOINT = sys.argv[1:4]
sys.path.insert(0, OLD)
HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.update(HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1")


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row) + "\n")
    return path


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def arc_row(row):
    choices = row["question"]["choices"]
    return {"id": row["id"], "question": row["question"]["stem"], "answerKey": row["answerKey"],
            "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}}


def sources(folder):
    """Task -> its configuration inside the package, the loader, and its files."""
    archive = zipfile.ZipFile(f"{DATA}/gpqa/gpqa.zip")
    archive.setpassword(b"deserted-untie-orchid")
    with open(f"{folder}/gpqa_main.csv", "wb") as f:
        f.write(archive.read("dataset/gpqa_main.csv"))
    blanks = [{k: row[k] for k in ("sentence", "option1", "option2", "answer")} for row in read_lines(f"{DATA}/winogrande/dev.jsonl")]
    arc = {split: write_lines(f"{folder}/arc_{split}.jsonl", map(arc_row, read_lines(f"{DATA}/arc/ARC-Easy/ARC-Easy-{word}.jsonl")))
           for split, word in (("train", "Train"), ("validation", "Dev"), ("test", "Test"))}
    return {
        "mmlu_pro_law": ("mmlu_pro/mmlu_pro_law.yaml", "json",
                         {split: f"{DATA}/mmlu_pro/{split}.jsonl.gz" for split in ("test", "validation")}),
        "gpqa_main_cot_n_shot": ("gpqa/cot_n_shot/gpqa_main_cot_n_shot.yaml", "csv", {"train": f"{folder}/gpqa_main.csv"}),
        "winogrande": ("winogrande/default.yaml", "json", {"train": f"{DATA}/winogrande/train_xl.hf.jsonl.gz",
                                                           "validation": write_lines(f"{folder}/winogrande.jsonl", blanks)}),
        "arc_easy": ("arc/arc_easy.yaml", "json", arc),
    }


def load(name, config, loader, files, folder):
    from lm_eval.tasks import TaskManager, get_task_dict
    place = f"{folder}/{name}"
    os.makedirs(place, exist_ok=True)
    with open(f"{place}/task.yaml", "w", encoding="utf-8") as f:
        f.write(f"include: {OLD}/lm_eval/tasks/{config}\ntask: here_{name}\ndataset_path: {loader}\ndataset_name: null\n"
                f"dataset_kwargs: {json.dumps({'data_files': files})}\n")
    random.seed(0)
    return get_task_dict([f"here_{name}"], TaskManager(include_path=place, include_defaults=False))[f"here_{name}"]


def main():
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)

    def chat(history, add_generation_prompt=True):
        return tokenizer.apply_chat_template(history, tokenize=False, add_generation_prompt=add_generation_prompt,
                                             continue_final_message=not add_generation_prompt)

    entries = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_DATASETS_CACHE"] = f"{folder}/cache"
        for name, (config, loader, files) in sources(folder).items():
            for mode in ("plain", "multi", "single"):
                for system in (None, "Be brief. "):
                    task = load(name, config, loader, files, folder)
                    task.set_config("num_fewshot", 5)
                    task.set_fewshot_seed(seed=1234)
                    more = {} if mode == "plain" else {"chat_template": chat}
                    task.build_all_requests(limit=4, rank=0, world_size=1, system_instruction=system, tokenizer_name="",
                                            apply_chat_template=mode != "plain", fewshot_as_multiturn=mode == "multi", **more)
                    for item in task.instances:
                        context, continuation = item.args
                        entries.append({"task": name, "mode": mode, "system": system or "", "doc_id": item.doc_id, "choice": item.idx,
                                        "sha256": hashlib.sha256(context.encode()).hexdigest(),
                                        "continuation": continuation if isinstance(continuation, str) else None})
    with open(os.path.join(HERE, "card_prompts.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + "\n]\n")


if __name__ == "__main__":
    main()
