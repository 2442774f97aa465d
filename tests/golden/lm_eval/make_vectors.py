#!/usr/bin/env python3
"""Record what lm-eval 0.4.13 does with small made-up inputs: prompts.json, filters.json, shots.json, hashes.json beside this file.

    pip install lm_eval==0.4.13 && python make_vectors.py

The prompts come from its own ConfigurableTask.fewshot_context and construct_requests, the filters and metrics from its own classes,
the shots from its own samplers; only data and chat template are made up here. The template writes every message it is given.
"""
import itertools
import json
import os
import random
from types import SimpleNamespace

from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.api.samplers import ContextSampler, FirstNSampler
from lm_eval.api.task import ConfigurableTask
from lm_eval.filters.extraction import MultiChoiceRegexFilter, RegexFilter
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.utils import handle_non_serializable, hash_string

HERE = os.path.dirname(os.path.abspath(__file__))


def save(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        f.write(lines(value) + "\n")


def lines(value, depth=0):
    """JSON with one case a line."""
    if isinstance(value, dict) and depth == 0:
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {lines(v, depth + 1)}" for k, v in value.items()) + "\n}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def template(messages, add_generation_prompt=True):
    text = "".join(f"<{m['role']}>{m['content']}</{m['role']}>\n" for m in messages)
    if add_generation_prompt:
        return text + "<assistant>"
    return text[: -len("</assistant>\n")]


class Recorder(ConfigurableTask):
    """A ConfigurableTask whose documents are questions already: no data set, no rendering."""

    def __init__(self, case):
        self._config = SimpleNamespace(description=case["description"], fewshot_delimiter="\n\n", test_split="test", gen_prefix=case["prefix"] or None,
                                       doc_to_choice=True, target_delimiter=" ", generation_kwargs={})
        self.fewshot_cfg = SimpleNamespace(split="train", doc_to_text=None, doc_to_choice=True, doc_to_target=None, gen_prefix=case["prefix"] or None,
                                           target_delimiter=" ", fewshot_delimiter="\n\n")
        self.OUTPUT_TYPE = case["kind"]
        self.multiple_input = 2 if case["several"] else 0
        self._metric_fn_list = {}
        self.features = []
        self.prompt = None
        self.sampler = SimpleNamespace(sample=lambda n, eval_doc=None: case["shots"])
        self._config.doc_to_image = self._config.doc_to_audio = None

    config = property(lambda self: self._config)

    def resolve_field(self, doc, field=None):
        return field

    def doc_to_text(self, doc, doc_to_text=None):
        return doc["gold"] if self.multiple_input else doc["text"]

    def doc_to_choice(self, doc, doc_to_choice=None):
        return doc["contexts"] if self.multiple_input else doc["choices"]

    def doc_to_target(self, doc, doc_to_target=None):
        return doc["target"]


def question(i, target):
    return {"text": f"Question {i}?", "contexts": [f"The first {i}", f"The second {i}"], "choices": [f"yes {i}", f"no {i}"],
            "target": target, "gold": i % 2}


def prompts():
    cases = []
    systems = [("", ""), ("Be brief.", ""), ("", "Topic.\n\n"), ("Be brief.", "Topic.\n\n"), ("Be brief.\n", "Topic."), ("Be brief.", "\u00a0Topic.")]
    kinds = [("multiple_choice", False), ("multiple_choice", True), ("generate_until", False), ("loglikelihood", False)]
    for (system, description), (kind, several), prefix, num_shots, mode in itertools.product(
            systems, kinds, ["", "Answer:", "Answer: "], [0, 2], ["plain", "single", "multi"]):
        case = {"system": system, "description": description, "kind": kind, "several": several, "prefix": prefix, "mode": mode,
                "shots": [question(1, "yes 1"), question(2, "")][:num_shots], "question": question(3, " the end")}
        task = Recorder(case)
        chat = mode != "plain"
        context = task.fewshot_context(case["question"], num_shots, system_instruction=system, apply_chat_template=chat,
                                       fewshot_as_multiturn=mode == "multi", chat_template=template if chat else None, gen_prefix=prefix or None)
        requests = task.construct_requests(case["question"], context, apply_chat_template=chat, chat_template=None, metadata=("t", 0, 1))
        requests = requests if isinstance(requests, list) else [requests]
        case["contexts"] = [r.args[0] for r in requests]
        case["continuations"] = [] if kind == "generate_until" else [r.args[1] for r in requests]
        cases.append(case)
    return cases


TEXTS = ["", "#### 72", "so 12 and 13\n#### 1,234.\nthen #### 5", "The answer is $18.00", "it is -7, or 8...", "no number", "#### -3.5 kg", "x=5.",
         "I say (B).", "(a) or (C), then (D)", "guilty of romance it is", "Guilty", "answer: C", "Answer:\n B", "not here; : E", "  ", "\u0661\u0662\u0663",
         "The answer is 42", "blue-green", "BLUE", "caf\u00e9 (\u00e9)", "A: 3/4", "#### 7\n\n"]
CHOICES = [["Guilty", "Guilty of Romance", "blue green", "a+b?"], ["red", "red", "BLUE", "caf\u00c9"], ["", "1.5", "two", "no"]]


def filters():
    out = {"regex": [], "multi_choice": [], "exact_match": [], "stop": []}
    patterns = [("#### (\\-?[0-9\\.\\,]+)", 0), ("(-?[$0-9.,]{2,})|(-?[0-9]+)", -1), ("[0-9]", 1), ("(?<=The answer is )(.*)(?=.)", 0),
                ("answer is \\(?([ABCDEFGHIJ])\\)?", 0), ("(x)?(y)?", 0), ("\\w+", -1), ("\\d+", 0), ("( *)", 0)]
    for (pattern, select), text in itertools.product(patterns, TEXTS):
        try:
            ((found,),) = RegexFilter(pattern, select).apply([[text]], [{}])
        except IndexError:
            found = "[invalid]"  # the harness stops with an error here
        out["regex"].append([pattern, select, text, found])
    for choices, text, select, fold in itertools.product(CHOICES, TEXTS, [0, -1], [False, True]):
        step = MultiChoiceRegexFilter("(\\([A-Z]\\))", select, ignore_case=fold, ignore_punctuation=fold)
        ((found,),) = step.apply([[text]], [{"choices": choices}])
        out["multi_choice"].append([choices, text, select, fold, found])
    ignored = [",", "\\$", "(?s).*#### ", "\\.$"]
    for prediction, (case, punctuation, use) in itertools.product(
            ["72", "1,234.", "$72", "72.", "72.0", "a\nb #### 72", "Seventy-Two!", "seventytwo", ""],
            [(True, False, True), (True, True, False), (False, False, False), (False, True, True)]):
        for reference in ["work\n#### 72", "72", "seventy two", "Seventy-two", "#### 1,234"]:
            value = exact_match_hf_evaluate([prediction], [reference], ignored if use else None, case, punctuation)["exact_match"]
            out["exact_match"].append([prediction, reference, case, punctuation, use, bool(value)])
    for text, stops in itertools.product(["", "abc", "a STOP b END", "END a", "aSTOEND", "STSTOPOP"], [[], ["STOP"], ["END", "STOP"], ["", "OP"], ["TOEN", "STOE"]]):
        out["stop"].append([text, stops, postprocess_generated_text(text, stops, None)])
    return out


def shots():
    pools = {"distinct": [{"q": i} for i in range(400)], "small": [{"q": i} for i in range(12)], "doubled": [{"q": i // 3} for i in range(30)]}
    out = []
    for (name, pool), n, same, seed in itertools.product(pools.items(), [1, 5, 8], [False, True], [1234, 7]):
        indexed = [dict(document, row=i) for i, document in enumerate(pool)]

        class Row(dict):
            """Equal by content, as a row without its number is; remembers the number."""
            def __eq__(self, other):
                return self["q"] == other["q"]
            def __ne__(self, other):
                return self["q"] != other["q"]
            __hash__ = None

        rows = [Row(document) for document in indexed]
        sampler = ContextSampler(rows, rnd=seed)
        picks = [[row["row"] for row in sampler.sample(n, eval_doc=rows[i] if same else None)] for i in range(len(rows) if len(rows) < 40 else 12)]
        out.append({"pool": name, "sampler": "random", "n": n, "same": same, "seed": seed, "picks": picks})
        first = FirstNSampler(rows, rnd=seed)
        picks = [[row["row"] for row in first.sample(n, eval_doc=rows[i] if same else None)] for i in range(6)]
        out.append({"pool": name, "sampler": "first_n", "n": n, "same": same, "seed": seed, "picks": picks})
    return out


def random_vectors():
    out = []
    for seed in (0, 1, 42, 1234, 2**32 + 5, 2**64 - 1):
        r = random.Random(seed)
        case = {"seed": str(seed), "words": [r.getrandbits(32) for _ in range(700)][-5:], "bits": [r.getrandbits(k) for k in (1, 5, 17, 32)],
                "below": [r._randbelow(n) for n in (1, 2, 3, 4, 1000, 2**31, 2**32 - 1)], "below_large": [str(r._randbelow(n)) for n in (2**40 + 1, 2**63 + 9)],
                "unit": [r.random() for _ in range(3)], "sample": []}
        for population, k in ((1, 1), (5, 5), (21, 5), (22, 5), (85, 6), (86, 6), (300, 25), (277, 25), (40398, 6), (10, 0)):
            case["sample"].append([population, k, r.sample(range(population), k)])
        shuffled = list(range(50))
        r.shuffle(shuffled)
        case["shuffle"] = shuffled
        out.append(case)
    return out


def hashes():
    documents = [{}, {"a": 1}, {"question": "caf\u00e9 \"x\"\\\n\t\u0001\u007f\u2028/", "answer": 3, "list": [], "map": {}, "none": None, "yes": True},
                 {"nested": {"text": ["a", "b"], "label": ["1", "2"]}, "x": 0.1, "y": 1e-7, "z": 1e16, "w": 2.0, "big": 12345678901234567}]
    return [[document, hash_string(json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False))] for document in documents]


if __name__ == "__main__":
    save("prompts.json", prompts())
    save("filters.json", filters())
    save("shots.json", {"picks": shots(), "random": random_vectors()})
    save("hashes.json", hashes())
