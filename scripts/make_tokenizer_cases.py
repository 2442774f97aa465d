"""Writes tests/golden/text/tokenizer_cases.json: what Hugging Face's tokenizers library answers for small byte-level
vocabularies, one for each split pattern and normalizer that published checkpoints use.

  python3 scripts/make_tokenizer_cases.py > tests/golden/text/tokenizer_cases.json      (needs tokenizers)"""
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "The instrument measures what four bits cost: 1234 weights, 56 scales, and one answer.",
    "Les poids sont arrondis; naïve café, déjà vu, l'été. It's we'll they've don't I'M",
    "東京の重みは四ビット。 Привет, мир! Здравствуйте. مرحبا بالعالم  नमस्ते",
    "def score(x):\n    return x * 2  # twice\n\n\tif x == 10:\n        pass\n", "camelCaseWords HTTPServer2Go 3.14159 1,000,000 $5.00 50%",
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
OTHER = r"\d{1,2}|[\p{L}\p{M}]+|\s|[^\s\p{L}\p{M}\d]"


def split(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


SETUPS = {
    "gpt2": dict(pre=pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "gpt2 prefix space": dict(pre=pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "digits then gpt2": dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
    "llama3, ignore merges, bos": dict(pre=split(LLAMA3), ignore_merges=True, bos=True),
    "qwen2, nfc": dict(pre=split(QWEN2), normalizer=normalizers.NFC()),
    "another pattern": dict(pre=split(OTHER)),
}
TEXTS = CORPUS + [
    "", " ", "  ", "\n", "\r\n\r\n", "a", "<s>hello</s>", "<|im_start|>user\nhi<|im_end|>", "x<s> y </s>z", "<s", " <s>  ", "e\u0301 vs \u00e9", "\u212b", "a\u0000b\u007f",
    "'S 'LL i'Ve", "\u00a0\u2003\u3000x", "١٢٣٤ ½ ²", "👩‍👩‍👧‍👦 🇯🇵 ❤️", "\ufeffBOM", "tab\tand\x0bvt\x0cff", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1234567890123", "...!!!???", "\u200b\u200d", "ſ K ß ŉ",
]
random.seed(7)
ALPHABET = list("abc XYZ  019'.,\n\t") + ["é", "ß", "東", "京", "п", "р", "😀", "\u0301", "'s", "<s>", "\r\n", "\u00a0"]
TEXTS += ["".join(random.choice(ALPHABET) for _ in range(random.randint(1, 60))) for _ in range(60)]

out = []
for name, setup in SETUPS.items():
    tokenizer = Tokenizer(models.BPE(ignore_merges=setup.get("ignore_merges", False)))
    tokenizer.pre_tokenizer = setup["pre"]
    if "normalizer" in setup:
        tokenizer.normalizer = setup["normalizer"]
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_tokens([AddedToken("arrondis", normalized=True), AddedToken("  strip  me", lstrip=True, rstrip=True, normalized=False), AddedToken("weights", single_word=True)])
    if setup.get("bos"):
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        case = {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids, skip_special_tokens=True)}
        with_special = tokenizer.encode(text, add_special_tokens=True).ids
        if with_special != ids:
            case["with_special"] = with_special
        cases.append(case)
    out.append({"name": name, "tokenizer": json.loads(tokenizer.to_str()), "cases": cases})
print(json.dumps({"setups": out}, ensure_ascii=True))
