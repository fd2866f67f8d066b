"""Byte-level BPE in the GPT-2 manner: training, encoding, decoding.

    bpe.py OUT.json [vocabulary size] [documents]     trains on freshly generated text
"""
import collections
import json
import sys

import regex

SPLIT = regex.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
                      r"|\s*[\r\n]+|\s+(?!\S)|\s+")          # the qwen2 rule: every digit is its own word
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<think>", "</think>"]
ADDED = regex.compile("|".join(regex.escape(t) for t in CONTROL + USER_DEFINED))


def byte_map():
    """GPT-2's reversible map from bytes to printable characters, in the order of the first 256 token ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


BYTES = byte_map()
UNBYTES = {c: b for b, c in BYTES.items()}


def to_symbols(word):
    return tuple(BYTES[b] for b in word.encode())


def train(texts, vocab_size, min_count=20):
    """-> merges. Counts of words, not of text, so each merge looks at a few thousand words only."""
    words = collections.Counter()
    for text in texts:
        for part in ADDED.split(text):
            words.update(SPLIT.findall(part))
    spelled = {w: list(to_symbols(w)) for w in words}
    where = collections.defaultdict(set)                 # pair -> words that hold it
    count = collections.Counter()
    for w, symbols in spelled.items():
        for pair in zip(symbols, symbols[1:]):
            count[pair] += words[w]
            where[pair].add(w)
    merges = []
    while len(merges) < vocab_size - 256 - len(CONTROL) - len(USER_DEFINED):
        pair, n = max(count.items(), key=lambda kv: (kv[1], kv[0]))      # ties: by the symbols, for determinism
        if n < min_count:
            break
        merges.append(pair)
        for w in sorted(where[pair]):
            old = spelled[w]
            for p in zip(old, old[1:]):
                count[p] -= words[w]
                where[p].discard(w)
            new = spelled[w] = merge(old, pair)
            for p in zip(new, new[1:]):
                count[p] += words[w]
                where[p].add(w)
        del count[pair]
    return merges


def merge(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if i + 1 < len(symbols) and (symbols[i], symbols[i + 1]) == pair:
            out.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.tokens = list(BYTES[b] for b in sorted(BYTES, key=lambda b: ord(BYTES[b])))
        self.tokens += [x + y for x, y in self.merges] + CONTROL + USER_DEFINED
        self.types = [1] * (256 + len(self.merges)) + [3] * len(CONTROL) + [4] * len(USER_DEFINED)
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        assert len(self.ids) == len(self.tokens), "two merges make the same token"
        self.end = self.ids["<|im_end|>"]
        self.eot = self.ids["<|endoftext|>"]
        self.cache = {}

    @classmethod
    def load(cls, path):
        with open(path, encoding="utf-8") as f:
            return cls(json.load(f)["merges"])

    def save(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"merges": self.merges}, f, ensure_ascii=False, indent=0)

    def word(self, word):
        ids = self.cache.get(word)
        if ids is None:
            symbols = list(to_symbols(word))
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]), key=lambda p: self.rank.get(p, 1 << 30))
                if best not in self.rank:
                    break
                symbols = merge(symbols, best)
            ids = [self.ids[s] for s in symbols]
            if len(self.cache) < 200000:
                self.cache[word] = ids
        return ids

    def encode(self, text):
        """Added tokens are recognised, as in template text."""
        out, at = [], 0
        for m in ADDED.finditer(text):
            for w in SPLIT.findall(text[at:m.start()]):
                out += self.word(w)
            out.append(self.ids[m.group()])
            at = m.end()
        for w in SPLIT.findall(text[at:]):
            out += self.word(w)
        return out

    def decode(self, ids):
        """Control tokens print nothing."""
        out = bytearray()
        for i in ids:
            if self.types[i] == 1:
                out += bytes(UNBYTES[c] for c in self.tokens[i])
            elif self.types[i] == 4:
                out += self.tokens[i].encode()
        return out.decode("utf-8", "replace")


if __name__ == "__main__":
    import itertools

    import corpus
    size, n = int(sys.argv[2]) if len(sys.argv) > 2 else 2816, int(sys.argv[3]) if len(sys.argv) > 3 else 60000
    docs = itertools.islice(corpus.documents(1), n)
    tokenizer = Tokenizer(train(("".join(t for t, _ in pieces) for pieces in docs), size))
    tokenizer.save(sys.argv[1])
    print(len(tokenizer.tokens), "tokens")
