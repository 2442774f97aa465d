"""Prefill and decode rates of llama.cpp on a GGUF file, as JSON: llama_rates.py FILE THREADS"""
import json, sys, time
from llama_cpp import Llama

path, threads = sys.argv[1], int(sys.argv[2])
model = Llama(path, n_ctx=2048, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
tokens = [1000 + (i * 7919) % 40000 for i in range(512)]


def prefill():
    model.reset()
    begin = time.perf_counter()
    model.eval(tokens)
    return 512 / (time.perf_counter() - begin)


def decode(context):
    model.reset()
    model.eval(tokens[:context])
    begin = time.perf_counter()
    for i in range(64):
        model.eval([tokens[i]])
    return 64 / (time.perf_counter() - begin)


print(json.dumps({"prefill_512": max(prefill() for _ in range(3)), "decode_16": max(decode(16) for _ in range(3)),
                  "decode_512": max(decode(512) for _ in range(2))}))
