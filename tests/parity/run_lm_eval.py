"""Runs lm-eval's own tasks on local data and writes what it answered, a file a task.

run_lm_eval.py MODEL_FOLDER TASKS_JSON LIMIT THREADS OUT [GROUP/TASK ...]
"""
import json, os, random, sys, time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import datasets
import local_datasets

datasets.load_dataset = local_datasets.load_dataset
import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


def plain(value):
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def kept(sample):
    """What is compared: no document's text, for some may not be shown."""
    keys = [k for k in sample if k not in ("doc", "arguments", "resps", "filtered_resps", "target", "metrics")]
    out = {k: plain(sample[k]) if not isinstance(sample[k], (list, tuple)) else sample[k] for k in keys}
    out["resps"] = [[plain(part) for part in r] if isinstance(r, (list, tuple)) else plain(r)
                    for resps in sample["resps"] for r in (resps if isinstance(resps, list) else [resps])]
    out["filtered"] = [plain(r) if not isinstance(r, (list, tuple)) else [plain(part) for part in r]
                       for r in (sample["filtered_resps"] if isinstance(sample["filtered_resps"], list) else [sample["filtered_resps"]])]
    return out


def forget_random_streams():
    """lm-eval keeps a task's helper module, and with it the stream that shuffles GPQA's choices, from one call to the next; in a process of
    its own each task would begin anew."""
    for name, module in list(sys.modules.items()):
        if isinstance(getattr(module, "rng", None), random.Random):
            del sys.modules[name]


def main():
    folder, table, limit, threads, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
    only = set(sys.argv[6:])
    torch.set_num_threads(threads)
    with open(table) as file:
        groups = json.load(file)
    model = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=4)
    manager = TaskManager()
    for group in groups:
        model._max_length, model.batch_size_per_gpu = group["max_length"], group.get("batch_size", 4)
        chat = group.get("chat", False)
        for task in group["tasks"]:
            label = task + (".chat" if chat else "")
            path = os.path.join(out, label + ".lm_eval.json")
            if (only and label not in only) or os.path.exists(path):
                continue
            forget_random_streams()
            begin = time.perf_counter()
            try:
                result = lm_eval.simple_evaluate(
                    model, tasks=[task], num_fewshot=group.get("shots"), limit=limit, task_manager=manager, bootstrap_iters=0,
                    gen_kwargs=group.get("gen_kwargs"), log_samples=True, apply_chat_template=chat, fewshot_as_multiturn=chat)
                answer = {"seconds": time.perf_counter() - begin, "samples": [kept(s) for s in result["samples"][task]]}
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}"[:300]}
            with open(path + ".part", "w") as file:
                json.dump(answer, file)
            os.rename(path + ".part", path)
            print(label, answer.get("failed", f"{answer.get('seconds', 0):.1f} s"), flush=True)


main()
