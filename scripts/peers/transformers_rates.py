"""Prefill and decode rates of Transformers on a checkpoint folder, as JSON: transformers_rates.py FOLDER THREADS DTYPE"""
import json, sys, time
import torch
from transformers import AutoModelForCausalLM

folder, threads, dtype = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(threads)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
tokens = torch.tensor([[1000 + (i * 7919) % 40000 for i in range(512)]])


@torch.inference_mode()
def prefill():
    begin = time.perf_counter()
    model(tokens, logits_to_keep=1)
    return 512 / (time.perf_counter() - begin)


@torch.inference_mode()
def decode(context, count=24):
    out = model(tokens[:, :context], use_cache=True, logits_to_keep=1)
    cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
    begin = time.perf_counter()
    for _ in range(count):
        out = model(token, past_key_values=cache, use_cache=True)
        cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)
    return count / (time.perf_counter() - begin)


print(json.dumps({"prefill_512": max(prefill() for _ in range(3)), "decode_16": max(decode(16) for _ in range(2))}))
