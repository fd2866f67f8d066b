"""The held-out questions, and the trainer's own answers to them.

    evaluate.py make OUT.jsonl [seed]                       writes a question set
    evaluate.py answer CHECKPOINT EVAL.jsonl ANSWERS.jsonl [questions per ability]
    evaluate.py ask CHECKPOINT "question" ...               one greedy answer each
    evaluate.py stories OUT.jsonl N                         N held-out requests for stories, to be sampled by signum batch

Split "combination": wordings of the training grammar around a pair, list or entity that training never put there (see
corpus.turn). Split "wording": wordings with an alternative that training never uses.
"""
import json
import random
import sys

import numpy as np

import bpe
import checkpoint
import corpus
from net import Net, ints

SEED = 20261122
PER_SPLIT = {"combination": 30, "wording": 20}


def make(seed):
    rng, seen = random.Random(seed), set()
    for ability in [*corpus.ABILITIES, "memory"]:
        for split, n in PER_SPLIT.items():
            made = 0
            while made < n:
                held = split == "wording"
                turns = corpus.memory_turns(rng, held, split) if ability == "memory" else [corpus.turn(rng, ability, held, split)]
                messages = []
                for question, answer, _ in turns:
                    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                text = json.dumps(messages[:-1])
                if text in seen:
                    continue
                seen.add(text)
                made += 1
                yield {"id": f"{ability}-{split[0]}{made}", "ability": ability, "split": split, "messages": messages[:-1],
                       "expect": turns[-1][2]}


def prompt(messages):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + corpus.ASSISTANT


def generate(net, tokenizer, prompts, limit=160):
    """Continues all prompts side by side until <|im_end|>. No KV cache: the sequences are short."""
    running = {i: tokenizer.encode(p) for i, p in enumerate(prompts)}
    answers = {i: [] for i in running}
    while running:
        keys = sorted(running)
        while keys:
            batch, total = [], 0
            while keys and total + len(running[keys[0]]) <= net.cap:
                total += len(running[keys[0]])
                batch.append(keys.pop(0))
            token, start, pos, want = [], [], [], []
            for i in batch:
                ids = running[i]
                start += [len(token)] * len(ids)
                token += ids
                pos += range(len(ids))
                want += [-1] * (len(ids) - 1) + [0]
            logits = net.logits((ints(token), ints(start), ints(pos), ints(want)))
            for row, i in zip(logits, batch):
                best = int(np.argmax(row))
                if best in (tokenizer.end, tokenizer.eot):
                    del running[i]
                    continue
                answers[i].append(best)
                running[i].append(best)
                if len(answers[i]) >= limit:
                    del running[i]
    return [tokenizer.decode(answers[i]) for i in range(len(prompts))]


def load(path, tokenizer_path):
    config, step, latent, _, _ = checkpoint.load(path)
    net = Net(cap=4096, **config)
    net.use(latent)
    return net, bpe.Tokenizer.load(tokenizer_path), step


def main():
    command, rest = sys.argv[1], sys.argv[2:]
    if command == "make":
        with open(rest[0], "w", encoding="utf-8") as f:
            for item in make(int(rest[1]) if len(rest) > 1 else SEED):
                print(json.dumps(item, ensure_ascii=False), file=f)
        return
    if command == "stories":
        rng = random.Random(SEED + 1)
        with open(rest[0], "w", encoding="utf-8") as f:
            for i in range(int(rest[1])):
                question, _, expect = corpus.turn(rng, "story", False, "combination")
                print(json.dumps({"id": f"story-{i + 1}", "ability": "story", "split": "combination", "seed": i + 1,
                                  "messages": [{"role": "user", "content": question}], "expect": expect}), file=f)
        return
    net, tokenizer, step = load(rest[0], __file__.rsplit("/", 1)[0] + "/tokenizer.json")
    if command == "ask":
        for question, answer in zip(rest[1:], generate(net, tokenizer, [prompt([{"role": "user", "content": q}]) for q in rest[1:]])):
            print("> " + question + "\n" + answer)
    elif command == "answer":
        with open(rest[1], encoding="utf-8") as f:
            items = [json.loads(line) for line in f]
        if len(rest) > 3:                       # a quick look: the first few of each ability and split
            counts = {}
            keep = []
            for item in items:
                key = item["ability"], item["split"]
                counts[key] = counts.get(key, 0) + 1
                if counts[key] <= int(rest[3]):
                    keep.append(item)
            items = keep
        answers = generate(net, tokenizer, [prompt(item["messages"]) for item in items])
        with open(rest[2], "w", encoding="utf-8") as f:
            for item, answer in zip(items, answers):
                print(json.dumps({"id": item["id"], "answer": answer}, ensure_ascii=False), file=f)
        print(f"step {step}: {len(items)} answers")


if __name__ == "__main__":
    main()
