#!/usr/bin/env python3
"""Record the prompts that lm-eval 0.4.13 builds for BIG-Bench Hard, CoT few-shot: bbh_prompts.json beside this file.

    pip install lm_eval==0.4.13 && python make_bbh_prompts.py

The data set is replaced by one made-up document; description and worked examples are lm-eval's own. Kept is the SHA-256 of
each subtask's prompt, plain and in a chat template that writes every message it is given, shots as turns and as one text.
"""
import hashlib
import json
import os

import datasets

DOCUMENT = {"input": "What now?", "target": "Right"}
SPLITS = {"test": datasets.Dataset.from_dict({key: [value] for key, value in DOCUMENT.items()})}
datasets.load_dataset = lambda *_, **__: datasets.DatasetDict(SPLITS)

from lm_eval.tasks import TaskManager, get_task_dict  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def template(messages, add_generation_prompt=True):
    text = "".join(f"<{m['role']}>{m['content']}</{m['role']}>\n" for m in messages)
    return text + "<assistant>" if add_generation_prompt else text


def main():
    manager = TaskManager()
    modes = {"plain": {}, "multi": {"apply_chat_template": True, "fewshot_as_multiturn": True, "chat_template": template},
             "single": {"apply_chat_template": True, "fewshot_as_multiturn": False, "chat_template": template}}
    recorded = {}
    for name in sorted(name for name in manager.all_tasks if name.startswith("bbh_cot_fewshot_")):
        task = get_task_dict([name], manager)[name]
        document = task.test_docs()[0]
        prompts = {mode: task.fewshot_context(document, num_fewshot=task.config.num_fewshot, **how) for mode, how in modes.items()}
        recorded[name] = {mode: hashlib.sha256(text.encode()).hexdigest() for mode, text in prompts.items()}
    with open(os.path.join(HERE, "bbh_prompts.json"), "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in recorded.items()) + "\n}\n")
    print(len(recorded), "subtasks")


if __name__ == "__main__":
    main()
