#!/usr/bin/env python3
"""Record BLEU and ROUGE of small texts: overlap.json beside this file.

    pip install lm_eval==0.4.13 sacrebleu==2.6.0 rouge_score && python make_overlap.py

The scores are those of lm-eval's own truthfulqa functions; the texts are made up here from a fixed seed.
"""
import json
import os
import random

from lm_eval.tasks.truthfulqa.utils import bleu, rouge

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = ["the", "The", "cat", "sat", "on", "mat,", "3.5", "1,000", "$5", "don't", "U.S.", "(yes)", "no!", "naïve", "a+b", "“so”", "10%", ".", "",
         "x<y", "rain\nfalls", "end.", "東京", "e-mail", "…", "²", "it's"]


def main():
    draw = random.Random(5)
    pairs = [("", "a"), ("The cat", "the cat sat"), ("The cat sat on the mat.", "The cat sat on the mat."), ("one two three", "four five six"),
             ("I have no comment .  ", "I have no comment."), ("a . b . c", "b . a . c")]
    for _ in range(120):
        reference = [draw.choice(WORDS) for _ in range(draw.randint(1, 14))]
        prediction = [w for w in reference if draw.random() < 0.8] + [draw.choice(WORDS) for _ in range(draw.randint(0, 5))]
        pairs.append((" ".join(prediction), " ".join(reference)))
    rows = []
    for prediction, reference in pairs:
        scores = rouge([reference], [prediction])
        rows.append({"prediction": prediction, "reference": reference, "bleu": float(bleu([[reference]], [prediction])),
                     "rouge1": float(scores["rouge1"]), "rouge2": float(scores["rouge2"]), "rougeLsum": float(scores["rougeLsum"])})
    with open(os.path.join(HERE, "overlap.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
