#!/usr/bin/env python3
"""Throughput of `signum batch` on a realistic mix of requests, by sequences at once.

    python3 tests/bench/batch.py build/x86_64-cc/signum MODEL [-np 1,4,16,32] [-r REQUESTS] [FLAG...]

Every request has the same 400 tokens in front (a system prompt), 50 to 300 of its own, and an
answer of 20 to 200 tokens. Prompts are random token ids and answers have a fixed length, so
a stand-in model with random weights does the same work as a real one. Further flags go to
signum (-t 2, --spec ngram, -ctk q8_0 ...). Prints a line per -np: answer tokens a second over
the whole run, reading included, prompt tokens computed and cached, rows per evaluation."""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

SHARED = 400


def requests(n, n_vocab):
    """The first n of one endless sequence, so that every -np gets the same mix."""
    rng = random.Random(1)
    token = lambda: rng.randrange(n_vocab // 2)  # special tokens are at the end of a vocabulary
    shared = [token() for _ in range(SHARED)]
    for i in range(n):
        yield {
            "custom_id": str(i),
            "prompt": shared + [token() for _ in range(rng.randint(50, 300))],
            "max_tokens": rng.randint(20, 200),
            "ignore_eos": True,
        }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("signum")
    p.add_argument("model")
    p.add_argument("-np", default="1,4,16,32")
    p.add_argument("-r", type=int, default=0, help="requests; 0: three for each sequence, at least 8")
    args, flags = p.parse_known_args()
    info = json.loads(subprocess.check_output([args.signum, "info", args.model, "--json"]))
    print("| -np | requests | answer tok/s | ratio | computed | cached | rows per step | seconds |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    first = None
    for np in map(int, args.np.split(",")):
        n = args.r or max(8, 3 * np)
        with tempfile.TemporaryDirectory() as folder:
            path = lambda name: os.path.join(folder, name)
            with open(path("in"), "w") as f:
                f.writelines(json.dumps(r) + "\n" for r in requests(n, info["vocabulary"]))
            command = [args.signum, "batch", "-m", args.model, "-q", "--raw", "--no-loop-guard", "-c", "2048"]
            command += ["-np", str(np), "-i", path("in"), "-o", path("out"), "--summary", path("sum"), *flags]
            if subprocess.call(command) != 0:
                sys.exit("signum failed: " + " ".join(command))
            s = json.load(open(path("sum")))
        rate = s["answer_tokens"] / s["seconds"]
        first = first or rate
        print(
            f"| {np} | {n} | {rate:.2f} | {rate / first:.2f} | {s['prompt_tokens']} | {s['cached_tokens']} "
            f"| {s['rows'] / s['steps']:.1f} | {s['seconds']:.1f} |",
            flush=True,
        )


main()
