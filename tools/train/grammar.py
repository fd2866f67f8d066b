"""A tiny phrase grammar: "{Hi|Hello}{| there}" stands for every way to pick one alternative per brace.

An alternative that starts with "~" is held out: training never uses it, the evaluation set of split "wording"
always uses at least one. Alternatives nest. "<name>" marks a slot that the caller fills afterwards.
"""
import functools
import zlib


@functools.lru_cache(maxsize=None)
def parse(pattern):
    """Pattern -> tuple of parts; a part is a string or a tuple of (held, parts) alternatives."""
    pos = 0

    def sequence(nested):
        nonlocal pos
        parts, text = [], []
        while pos < len(pattern) and not (nested and pattern[pos] in "|}"):
            if pattern[pos] != "{":
                text.append(pattern[pos])
                pos += 1
                continue
            if text:
                parts.append("".join(text))
                text = []
            choices = []
            while pattern[pos] != "}":
                pos += 1                                  # skips "{" and then each "|"
                held = pattern[pos] == "~"
                pos += held
                choices.append((held, sequence(True)))
            pos += 1
            parts.append(tuple(choices))
        if text:
            parts.append("".join(text))
        return tuple(parts)

    return sequence(False)


def _walk(rng, parts, allow_held, out):
    used = False
    for part in parts:
        if isinstance(part, str):
            out.append(part)
            continue
        choices = part if allow_held else [c for c in part if not c[0]]
        held, inner = choices[int(rng.random() * len(choices))]
        used |= held
        used |= _walk(rng, inner, allow_held, out)
    return used


def has_held(parts):
    return any(held or has_held(inner) for part in parts if not isinstance(part, str) for held, inner in part)


def expand(rng, pattern, held=False):
    """One random reading of the pattern; with held=True one that uses a held-out alternative (if there is any)."""
    parts = parse(pattern)
    held = held and has_held(parts)
    while True:
        out = []
        if _walk(rng, parts, held, out) == held:
            return "".join(out)


def bucket(text, n=16):
    """A stable hash: bucket 0 of the questions is kept for the evaluation split "combination"."""
    key = "".join(c for c in text.lower() if c.isalnum() or c == "-").encode()
    return zlib.crc32(key) % n


def fill(text, **slots):
    for name, value in slots.items():
        text = text.replace("<" + name + ">", str(value))
    return text


def cap(text):
    return text[:1].upper() + text[1:]


def a(noun):
    """"fox" -> "a fox", "owl" -> "an owl"."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
