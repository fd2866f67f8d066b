"""Scores answers against the held-out set: score.py EVAL.jsonl ANSWERS.jsonl [--wrong] [--markdown]

An answer line needs the question's id ("id" or "custom_id") and its text ("answer", "text", "content" or a chat-completion
record). Needs nothing but Python.
"""
import json
import re
import sys

from words import COLOUR_NAMES, OBJECTS

STARTS = set("""Once One Day Long The There On Soon He She It At In Every Today That So Then And From They I Yes Thank Do Try You My
Come We His Her Its This Morning""".split())


def story_fault(answer):
    """None, or what is wrong with a story: a name before its introduction, "he" who becomes "she", a thing that changes, a loop, no
    end."""
    introduced = set()
    for m in re.finditer(r"(?:(named|called) )?\b([A-Z][a-z]+)\b", answer):
        if m.group(1):
            if m.group(2) in introduced:
                return "two of them named " + m.group(2)
            introduced.add(m.group(2))
        elif m.group(2) not in STARTS and m.group(2) not in introduced:
            return "unknown name " + m.group(2)
    if re.search(r"\b(he|his|him)\b", answer.lower()) and re.search(r"\b(she|her)\b", answer.lower()):
        return "he and she"                         # in these stories a pronoun is always the hero's
    things = set(re.findall(r"\b((?:%s) (?:%s))\b" % ("|".join(COLOUR_NAMES), "|".join(OBJECTS)), answer))
    if len(things) > 1:
        return "two things: " + ", ".join(sorted(things))
    if "\ufffd" in answer:
        return "broken UTF-8"
    if answer.rstrip()[-1:] not in (".", "!", '"'):
        return "no end"
    sentences = re.split(r"(?<=[.!?])\s+", answer)
    if len(sentences) < 4:
        return "too short"
    if max(sentences.count(s) for s in sentences) > 2:
        return "repeats"
    return None


def fault(expect, answer):
    """None if the answer is right, else a reason."""
    low = answer.lower()
    numbers = [int(n) for n in re.findall(r"\d+", answer)]
    if "number" in expect and (not numbers or numbers[-1] != expect["number"]):
        return f"number {expect['number']}"
    if "list" in expect and numbers != expect["list"]:
        return f"list {expect['list']}"
    for text in expect.get("all", []):
        if text.lower() not in low:
            return "lacks " + repr(text)
    if "any" in expect and not any(text.lower() in low for text in expect["any"]):
        return "none of " + repr(expect["any"])
    if expect.get("story"):
        return story_fault(answer)
    return None


def text_of(record):
    for key in ("answer", "text", "content", "output"):
        if isinstance(record.get(key), str):
            return record[key]
    body = record.get("response", record)
    body = body.get("body", body) if isinstance(body, dict) else {}
    if isinstance(body, dict) and body.get("choices"):
        choice = body["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"]
    raise SystemExit("score.py: no answer text in " + json.dumps(record)[:200])


def main():
    paths = [a for a in sys.argv[1:] if not a.startswith("--")]
    with open(paths[0], encoding="utf-8") as f:
        items = {x["id"]: x for x in map(json.loads, f)}
    right, total = {}, {}
    with open(paths[1], encoding="utf-8") as f:
        for record in map(json.loads, f):
            item = items[record.get("custom_id", record.get("id"))]
            answer = text_of(record)
            why = fault(item["expect"], answer)
            for key in ((item["ability"], item["split"]), ("all", item["split"])):
                total[key] = total.get(key, 0) + 1
                right[key] = right.get(key, 0) + (why is None)
            if why and "--wrong" in sys.argv:
                print(f"{item['id']}: {item['messages'][-1]['content']!r} -> {answer!r}: {why}")
    bar = "|" if "--markdown" in sys.argv else " "
    line = "{b} {:<14}{b}{:>18} {b}{:>14} {b}"
    print(line.format("ability", "new combination", "new wording", b=bar))
    if bar == "|":
        print("|---|---:|---:|")
    for ability in dict.fromkeys(a for a, _ in sorted(total, key=lambda k: (k[0] == "all", k))):
        cells = []
        for split in ("combination", "wording"):
            n = total.get((ability, split), 0)
            cells.append(f"{right[ability, split]}/{n} = {100 * right[ability, split] / n:.0f} %" if n else "-")
        print(line.format(ability, *cells, b=bar))


if __name__ == "__main__":
    main()
