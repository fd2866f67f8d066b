#!/usr/bin/env python3
"""Packs malformed files into one text: each as pieces of a valid base file and literal bytes.

usage: bad_cases.py BASE.gguf DIR > cases.txt
DIR holds expected.tsv (name, outcome, reason; tab separated) and NAME.gguf for every line of it.
tests/bad_cases.h reads the result; its format is described in the text's first lines.
"""
import os, re, sys

HEAD = """\
# Malformed and odd GGUF files, each made from {base}. Written by tools/bad_cases.py.
# case NAME OUTCOME REASON    outcome: error, ok, or any (either; but never a crash)
# @ OFFSET LENGTH             copies bytes of the base file
# + HEX [xTIMES]              literal bytes, repeated
"""
WINDOW = 16     # shortest copy that is looked for


def index(base):
    at = {}
    for i in range(len(base) - WINDOW + 1):
        at.setdefault(base[i:i + WINDOW], []).append(i)
    return at


def longest(base, at, data, pos, follow):
    """The longest piece of base that data has at pos; where the last copy ended wins ties."""
    best = (0, 0)
    for i in [follow] + at.get(data[pos:pos + WINDOW], [])[:8]:
        low, high = 0, min(len(base) - i, len(data) - pos)
        while low < high:
            mid = (low + high + 1) // 2
            if base[i:i + mid] == data[pos:pos + mid]:
                low = mid
            else:
                high = mid - 1
        if low > best[1]:
            best = (i, low)
    return best


def literals(data):
    """Lines for literal bytes, long repetitions of up to 32 bytes shortened."""
    def plain(begin, end):
        for i in range(begin, end, 60):
            yield f'+ {data[i:min(i + 60, end)].hex()}'
    pos = 0
    for m in re.finditer(rb'(.{1,32}?)\1{15,}', data, re.S):
        yield from plain(pos, m.start())
        yield f'+ {m[1].hex()} x{len(m[0]) // len(m[1])}'
        pos = m.end()
    yield from plain(pos, len(data))


def pieces(base, at, data):
    pos, start, follow = 0, 0, 0
    while pos < len(data):
        i, n = longest(base, at, data, pos, follow)
        if n < WINDOW:
            pos += 1
            follow = min(follow + 1, len(base))
            continue
        yield from literals(data[start:pos])
        yield f'@ {i} {n}'
        pos = start = pos + n
        follow = i + n
    yield from literals(data[start:])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], 'rb') as f:
        base = f.read()
    at = index(base)
    print(HEAD.format(base=os.path.basename(sys.argv[1])), end='')
    with open(os.path.join(sys.argv[2], 'expected.tsv'), encoding='utf-8') as f:
        rows = [line.rstrip('\n').split('\t') for line in f]
    for name, outcome, reason in rows:
        with open(os.path.join(sys.argv[2], name + '.gguf'), 'rb') as f:
            data = f.read()
        print(f'case {name} {outcome} {reason}')
        for line in pieces(base, at, data):
            print(line)


if __name__ == '__main__':
    main()
