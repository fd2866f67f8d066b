"""Checkpoint -> GGUF: export.py CHECKPOINT OUT.gguf

The bits and fp16 scales are those that the last training step used, so the file loses nothing.
"""
import sys

import numpy as np

import bpe
import checkpoint
import gguf
from net import HEAD_DIM, Net

NAME = "signum-demo"
CONTEXT = 1024
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def metadata(config, tokenizer):
    strings, ints = (gguf.ARRAY, gguf.STRING), (gguf.ARRAY, gguf.I32)
    q = "qwen3."
    return [
        ("general.architecture", gguf.STRING, "qwen3"),
        ("general.type", gguf.STRING, "model"),
        ("general.name", gguf.STRING, NAME),
        ("general.description", gguf.STRING, "A tiny 1-bit demonstration model, trained from scratch on generated text"),
        ("general.license", gguf.STRING, "mit"),
        ("general.size_label", gguf.STRING, "5.5M"),
        ("general.quantization_version", gguf.U32, 2),
        ("general.file_type", gguf.U32, 40),
        ("general.sampling.temp", gguf.FLOAT, 0.6),
        ("general.sampling.top_k", gguf.I32, 40),
        ("general.sampling.top_p", gguf.FLOAT, 0.95),
        ("general.sampling.min_p", gguf.FLOAT, 0.1),
        (q + "block_count", gguf.U32, config["layers"]),
        (q + "context_length", gguf.U32, CONTEXT),
        (q + "embedding_length", gguf.U32, config["d"]),
        (q + "feed_forward_length", gguf.U32, config["ffn"]),
        (q + "attention.head_count", gguf.U32, config["heads"]),
        (q + "attention.head_count_kv", gguf.U32, config["kv"]),
        (q + "attention.key_length", gguf.U32, HEAD_DIM),
        (q + "attention.value_length", gguf.U32, HEAD_DIM),
        (q + "attention.layer_norm_rms_epsilon", gguf.FLOAT, 1e-6),
        (q + "rope.freq_base", gguf.FLOAT, 10000.0),
        ("tokenizer.ggml.model", gguf.STRING, "gpt2"),
        ("tokenizer.ggml.pre", gguf.STRING, "qwen2"),
        ("tokenizer.ggml.tokens", strings, tokenizer.tokens),
        ("tokenizer.ggml.token_type", ints, tokenizer.types),
        ("tokenizer.ggml.merges", strings, [f"{x} {y}" for x, y in tokenizer.merges]),
        ("tokenizer.ggml.eos_token_id", gguf.U32, tokenizer.end),
        ("tokenizer.ggml.padding_token_id", gguf.U32, tokenizer.eot),
        ("tokenizer.ggml.add_bos_token", gguf.BOOL, False),
        ("tokenizer.chat_template", gguf.STRING, TEMPLATE),
    ]


def disk_order(item):
    """output_norm, token_embd, then the blocks, each by name: the order of the Bonsai files."""
    name = item[0]
    return (1, int(name.split(".")[1]), name) if name.startswith("blk.") else (0, 0, name)


def main():
    config, step, latent, _, _ = checkpoint.load(sys.argv[1])
    tokenizer = bpe.Tokenizer.load(__file__.rsplit("/", 1)[0] + "/tokenizer.json")
    net = Net(cap=128, **config)
    net.use(latent)
    used, tensors = net.binarized(), []
    for name, at, shape, matrix in net.tensors():
        w = used[at:at + int(np.prod(shape))].reshape(shape)
        if matrix:
            scales = np.abs(w).reshape(shape[0], -1, 128)[..., 0].astype(np.float16)
            # not w >= 0: a scale that rounded to zero must keep the sign of its latent weight
            signs = latent[at:at + w.size].reshape(shape) >= 0
            assert np.array_equal(np.where(signs, 1, -1) * np.repeat(scales, 128, axis=1).astype(np.float32), w)
            tensors.append((name, shape, gguf.Q1_0, gguf.encode_q1_0(signs, scales)))
        else:
            tensors.append((name, shape, gguf.F32, w.astype("<f4").tobytes()))
    tensors.sort(key=disk_order)
    gguf.write(sys.argv[2], metadata(config, tokenizer), tensors)
    print(f"{sys.argv[2]}: step {step}, {len(tensors)} tensors")


main()
