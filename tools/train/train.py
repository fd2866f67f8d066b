"""Trains the bundled 1-bit model from nothing but corpus.py.

    train.py --out DIR [--resume] [--steps N] [--threads N] ...

Step k always sees the same text for the same --seed, so a run can stop at any time: SIGTERM writes a checkpoint and exits,
--resume goes on (with another --steps, if the time at hand has changed: the rate falls over the last --decay of them).
"""
import argparse
import os
import signal
import time

parser = argparse.ArgumentParser()
parser.add_argument("--out", default="build/train")
parser.add_argument("--tokenizer", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer.json"))
parser.add_argument("--resume", action="store_true")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--steps", type=int, default=12000)
parser.add_argument("--start", type=int, default=0, help="step at which the schedule of the rate begins, to train on from a finished run")
parser.add_argument("--tokens", type=int, default=2048, help="tokens per step")
parser.add_argument("--lr", type=float, default=1.2e-3)
parser.add_argument("--warmup", type=int, default=100)
parser.add_argument("--decay", type=float, default=1.0, help="share of the steps over which the rate falls to 0")
parser.add_argument("--until", help="HH:MM: stop then; the rate falls to 0 by the clock, on a machine whose speed nobody knows")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--pid", help="file to write the process id to")
parser.add_argument("--d", type=int, default=256)
parser.add_argument("--layers", type=int, default=6)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--kv", type=int, default=2)
parser.add_argument("--ffn", type=int, default=768)
args = parser.parse_args()
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(args.threads)
os.environ["OMP_WAIT_POLICY"] = "passive"                # a background job must not spin

import numpy as np  # noqa: E402  (after the thread counts)

import bpe  # noqa: E402
import checkpoint  # noqa: E402
import corpus  # noqa: E402
from net import Net, pack  # noqa: E402


def batch(tokenizer, seed, step, size):
    """Whole documents, about `size` tokens of them."""
    sequences, total = [], 0
    for pieces in corpus.documents(seed * 1_000_000_007 + step):
        ids, scored = [], []
        for text, score in pieces:
            part = tokenizer.encode(text)
            ids += part
            scored += [score] * len(part)
        if total and total + len(ids) > size:
            return pack(sequences)
        sequences.append((ids[:size], scored[:size]))
        total += len(ids)


began = end = time.time()
if args.until:
    hour, minute = map(int, args.until.split(":"))
    end = time.mktime((*time.localtime()[:3], hour, minute, 0, 0, 0, -1))


def rate(step):
    if args.until:
        return args.lr * min(1, max(0, (end - time.time()) / (end - began)))
    falling = (args.steps - args.start) * args.decay
    return args.lr * min(1, (step + 1 - args.start) / args.warmup, max(0, (args.steps - step) / falling))


def main():
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, "checkpoint.npz")
    if args.pid:
        with open(args.pid, "w") as f:
            print(os.getpid(), file=f)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    tokenizer = bpe.Tokenizer.load(args.tokenizer)
    config = {k: getattr(args, k) for k in ("d", "layers", "heads", "kv", "ffn")} | {"vocab": len(tokenizer.tokens)}
    first = 0
    if args.resume:
        config, first, latent, mom, var = checkpoint.load(path)
    net = Net(cap=args.tokens, **config)
    net.exact(False)
    if not args.resume:
        latent = net.initial(args.seed)
        mom, var = np.zeros(net.count, np.float32), np.zeros(net.count, np.float32)
    grad = np.zeros(net.count, np.float32)
    log = open(os.path.join(args.out, "log.txt"), "a", buffering=1)
    print(f"# {net.count} parameters, from step {first} of {args.steps}", file=log)
    since, saved, tokens, loss, count = time.time(), time.time(), 0, 0.0, 0
    for step in range(first, args.steps):
        data = batch(tokenizer, args.seed, step, args.tokens)
        wanted = int((data[3] >= 0).sum())
        net.use(latent)
        loss += net.learn(data, 1 / wanted, grad)
        count += wanted
        tokens += len(data[0])
        norm = net.adam(latent, grad, mom, var, rate(step), step + 1)
        if (step + 1) % 50 == 0:
            spent = time.time() - since
            print(f"{step + 1} loss {loss / count:.4f} norm {norm:.2f} rate {rate(step):.2e} {tokens / spent:.0f} tok/s "
                  f"{time.strftime('%H:%M:%S')}", file=log)
            since, tokens, loss, count = time.time(), 0, 0.0, 0
        if args.until and time.time() > end:
            stop.append(1)
        if stop or time.time() - saved > 240 or step + 1 == args.steps:
            checkpoint.save(path, config, step + 1, latent, mom, var)
            saved = time.time()
        if stop:
            print(f"# stopped after step {step + 1}", file=log)
            return


main()
