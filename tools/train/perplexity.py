"""Perplexity of an exported file under the trainer's own forward pass.

    perplexity.py MODEL.gguf TEXT [n_ctx]                  prints both modes as JSON
    perplexity.py --text OUT.txt                           writes the held-out text

The procedure is llama.cpp's: chunks of n_ctx tokens, each from an empty cache, positions n_ctx/2 .. n_ctx-2 predict their next
token, a last partial chunk is left out. "int8" rounds every matmul input to int8 per 128, as signum does by default; "float"
does not round. Weights are read back from the file, with its exact fp16 scales.
"""
import json
import random
import sys

import numpy as np

import bpe
import gguf
import stories
from net import HEAD_DIM, Net, ints


def load(path, quantize, cap):
    metadata, tensors = gguf.read(path)
    q = "qwen3."
    net = Net(vocab=len(metadata["tokenizer.ggml.tokens"]), d=metadata[q + "embedding_length"], layers=metadata[q + "block_count"],
              heads=metadata[q + "attention.head_count"], kv=metadata[q + "attention.head_count_kv"],
              ffn=metadata[q + "feed_forward_length"], theta=metadata[q + "rope.freq_base"], quantize=quantize, cap=cap)
    assert metadata[q + "attention.key_length"] == HEAD_DIM
    used = net.binarized()
    for name, at, shape, _ in net.tensors():
        used[at:at + int(np.prod(shape))] = tensors[name].ravel()
    return net, bpe.Tokenizer([m.split(" ") for m in metadata["tokenizer.ggml.merges"]])


def perplexity(net, ids, n_ctx):
    total = count = 0
    for s in range(0, len(ids) - n_ctx + 1, n_ctx):
        chunk = ids[s:s + n_ctx]
        want = [-1] * n_ctx
        want[n_ctx // 2:n_ctx - 1] = chunk[n_ctx // 2 + 1:]
        losses = net.losses((ints(chunk), ints([0] * n_ctx), ints(range(n_ctx)), ints(want))).astype(np.float64)
        total += losses.sum()
        count += len(losses)
    return float(np.exp(total / count)), count


def held_out_text():
    """About 40 KB of stories from another seed than training. Only stories: training puts no loss on what users say, so the
    perplexity of a rendered conversation would say nothing about the model."""
    rng = random.Random(7)
    return "".join(stories.story(rng) + "\n" for _ in range(110))


def main():
    if sys.argv[1] == "--text":
        with open(sys.argv[2], "w", encoding="utf-8") as f:
            f.write(held_out_text())
        return
    with open(sys.argv[2], encoding="utf-8") as f:
        text = f.read()
    n_ctx = int(sys.argv[3]) if len(sys.argv) > 3 else 512
    result = {"n_ctx": n_ctx}
    for mode, quantize in (("int8", True), ("float", False)):
        net, tokenizer = load(sys.argv[1], quantize, n_ctx)
        ids = tokenizer.encode(text)
        result["tokens"] = len(ids)
        result[mode], result["scored"] = perplexity(net, ids, n_ctx)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
