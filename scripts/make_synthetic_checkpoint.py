"""Writes a checkpoint folder of random weights in the shape of Mistral-Small-3.1-24B's text decoder, W4A16 as compressed-tensors
lays it out (group 128, symmetric, pack-quantized) or BF16: for measuring speed and memory where the real weights are not at hand.

  python3 scripts/make_synthetic_checkpoint.py DIR [--format w4a16|bf16] [--layers 40] [--hidden 5120] [--intermediate 32768]
      [--heads 32] [--kv-heads 8] [--head-dim 128] [--vocab 131072] [--group-size 128] [--seed 1] [--jobs N]

The same arguments give the same bytes. Needs numpy. Weights are scaled so that activations neither grow nor vanish."""
import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor

import numpy as np


def bf16(values):
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def random_bf16(rng, shape, std):
    """Uniform with that standard deviation; a normal draw would take five times as long."""
    return bf16((rng.random(shape, dtype=np.float32) - 0.5) * np.float32(std * 12**0.5))


def linear(rng, name, n, k, a):
    std = 0.6 / k**0.5
    if a.format == "bf16":
        return {name + ".weight": ("BF16", [n, k], random_bf16(rng, (n, k), std))}
    codes = rng.integers(0, 2**32, size=(n, k // 8), dtype=np.uint32).view(np.int32)
    scales = bf16((0.8 + 0.4 * rng.random((n, k // a.group_size), dtype=np.float32)) * np.float32(std / 4.61))
    return {name + ".weight_packed": ("I32", [n, k // 8], codes), name + ".weight_scale": ("BF16", list(scales.shape), scales),
            name + ".weight_shape": ("I64", [2], np.array([n, k], dtype=np.int64))}


def layer(index, a):
    rng = np.random.Generator(np.random.SFC64([a.seed, index]))
    prefix = f"model.layers.{index}."
    ones = bf16(np.ones(a.hidden))
    tensors = {prefix + "input_layernorm.weight": ("BF16", [a.hidden], ones), prefix + "post_attention_layernorm.weight": ("BF16", [a.hidden], ones)}
    q, kv = a.heads * a.head_dim, a.kv_heads * a.head_dim
    for name, n, k in (("self_attn.q_proj", q, a.hidden), ("self_attn.k_proj", kv, a.hidden), ("self_attn.v_proj", kv, a.hidden),
                       ("self_attn.o_proj", a.hidden, q), ("mlp.gate_proj", a.intermediate, a.hidden),
                       ("mlp.up_proj", a.intermediate, a.hidden), ("mlp.down_proj", a.hidden, a.intermediate)):
        tensors |= linear(rng, prefix + name, n, k, a)
    return tensors


def ends(a):
    rng = np.random.Generator(np.random.SFC64([a.seed, 1 << 20]))
    return {"model.embed_tokens.weight": ("BF16", [a.vocab, a.hidden], random_bf16(rng, (a.vocab, a.hidden), 0.5)),
            "model.norm.weight": ("BF16", [a.hidden], bf16(np.ones(a.hidden))),
            "lm_head.weight": ("BF16", [a.vocab, a.hidden], random_bf16(rng, (a.vocab, a.hidden), 2 / a.hidden**0.5))}


def write_shard(job):
    path, index, a = job
    tensors = ends(a) if index < 0 else layer(index, a)
    header, offset = {}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + data.nbytes]}
        offset += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, _, data in tensors.values():
            out.write(data.tobytes())
    return list(tensors), offset


def tokenizer(vocab):
    """256 byte tokens after three special ones; the rest of the ids have names of their own, which no text reaches."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    names = ["<unk>", "<s>", "</s>"] + [chr(b) if b in printable else chr(next(spare)) for b in range(256)]
    ids = {name: i for i, name in enumerate(names + [f"unused{i}" for i in range(len(names), vocab)])}
    special = [{"id": i, "content": names[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i in range(3)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}, "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": ids, "merges": []}}


def config(a):
    result = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": a.hidden, "intermediate_size": a.intermediate,
              "num_hidden_layers": a.layers, "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "head_dim": a.head_dim,
              "vocab_size": a.vocab, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 1e9, "hidden_act": "silu",
              "sliding_window": None, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}
    if a.format == "w4a16":
        result["quantization_config"] = {
            "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
            "kv_cache_scheme": None, "config_groups": {"group_0": {"targets": ["Linear"], "input_activations": None, "output_activations": None,
                "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": a.group_size, "actorder": None,
                            "dynamic": False, "block_structure": None, "observer": "minmax", "observer_kwargs": {}}}}}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--format", choices=("w4a16", "bf16"), default="w4a16")
    for name, value in (("layers", 40), ("hidden", 5120), ("intermediate", 32768), ("heads", 32), ("kv-heads", 8), ("head-dim", 128),
                        ("vocab", 131072), ("group-size", 128), ("seed", 1), ("jobs", min(12, os.cpu_count() or 1))):
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    os.makedirs(a.dir, exist_ok=True)
    total = a.layers + 1
    jobs = [(os.path.join(a.dir, f"model-{i + 2:05d}-of-{total:05d}.safetensors"), i, a) for i in range(-1, a.layers)]
    with ProcessPoolExecutor(a.jobs) as pool:
        shards = list(pool.map(write_shard, jobs))
    weight_map = {name: os.path.basename(job[0]) for job, (names, _) in zip(jobs, shards) for name in names}
    size = sum(nbytes for _, nbytes in shards)
    for name, value in (("model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": weight_map}), ("config.json", config(a)),
                        ("generation_config.json", {"bos_token_id": 1, "eos_token_id": 2}), ("tokenizer.json", tokenizer(a.vocab)),
                        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})):
        with open(os.path.join(a.dir, name), "w") as out:
            json.dump(value, out)
    print(f"{a.dir}: {size:,} bytes of {a.format} weights in {total} files")


if __name__ == "__main__":
    main()
