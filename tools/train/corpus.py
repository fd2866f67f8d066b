"""The training text: conversations and stories made from grammars, endless and the same for the same seed.

Every ability is a function (rng, held) -> (question, answer, expectation). The expectation is what score.py checks:
{"all": [...]} every string occurs, {"any": [...]} one of them does, {"number": n} is the last number of the answer,
{"list": [...]} are exactly its numbers. held=True asks for a wording that training never uses.
"""
import random

import guide
import questions as Q
import stories
import words as W
from grammar import a, bucket, cap, expand, fill
from stories import any_name, invented, pick
from talk import IDENTITY, TALK

SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", "Be brief.", "Be helpful and kind.",
           "You are a small model.", "Answer in short sentences.", "You answer questions about signum.",
           "You tell stories to children.", "You are a patient teacher."]
DONT_KNOW = "I don't know"


# ---------------------------------------------------------------- small talk and identity
HELD_TALK = [entry for entry in TALK if "~" in entry[1]]


def talk(rng, held):
    keys, ask, answer = pick(rng, HELD_TALK if held else TALK)
    name = any_name(rng)
    answer = expand(rng, answer)
    return fill(expand(rng, ask, held), name=name), fill(answer, name=name), {"all": [keys[0]]}


def identity(rng, held):
    keys, ask, answer = pick(rng, IDENTITY)
    return expand(rng, ask, held), answer, {"all": keys}


HELD_FACTS = [fact for fact in guide.FACTS if any("~" in w for w in fact[1])]


def guide_fact(rng, held):
    keys, asks, answer = pick(rng, HELD_FACTS if held else guide.FACTS)
    if held:
        asks = [w for w in asks if "~" in w]
    return expand(rng, pick(rng, asks), held), answer, {"all": keys}


# ---------------------------------------------------------------- facts
def capitals(rng, held):
    country = pick(rng, list(W.CAPITALS))
    city = W.CAPITALS[country]
    if rng.random() < 0.4:
        return fill(expand(rng, Q.COUNTRY, held), city=city), f"{city} is the capital of {country}.", {"all": [country]}
    return fill(expand(rng, Q.CAPITAL, held), x=country), f"The capital of {country} is {city}.", {"all": [city]}


def opposites(rng, held):
    word = pick(rng, list(W.OPPOSITES))
    return fill(expand(rng, Q.OPPOSITE, held), x=word), f"The opposite of {word} is {W.OPPOSITES[word]}.", {"all": [W.OPPOSITES[word] + "."]}


def plurals(rng, held):
    word = pick(rng, list(W.PLURALS))
    return fill(expand(rng, Q.PLURAL, held), x=word), f"The plural of {word} is {W.PLURALS[word]}.", {"all": [W.PLURALS[word] + "."]}


def colours(rng, held):
    thing = pick(rng, list(W.COLOURS))
    the = thing if thing in W.MASS else "the " + thing if thing in W.THE else a(thing)
    return fill(expand(rng, Q.COLOUR, held), x=the), f"{cap(the)} is {W.COLOURS[thing]}.", {"all": [W.COLOURS[thing]]}


def sounds(rng, held):
    animal = pick(rng, list(W.SOUNDS))
    if rng.random() < 0.2:
        return fill(expand(rng, Q.ANIMAL, held), s=W.SOUNDS[animal]), f"{cap(a(animal))} says {W.SOUNDS[animal]}.", {"all": [animal]}
    return fill(expand(rng, Q.SOUND, held), x=a(animal), b=animal), f"{cap(a(animal))} says {W.SOUNDS[animal]}.", {"all": [W.SOUNDS[animal]]}


def calendar(rng, held):
    kind = int(rng.random() * 10)
    names, unit = (W.DAYS, "day") if rng.random() < 0.45 else (W.MONTHS, "month")
    i = int(rng.random() * len(names))
    if kind < 6:
        step = 1 if rng.random() < 0.5 else -1
        other = names[(i + step) % len(names)]
        q = fill(expand(rng, Q.neighbour(step, unit), held), u=unit, n=names[i])
        return q, f"{other} comes {'after' if step == 1 else 'before'} {names[i]}.", {"all": [other]}
    if kind == 6:
        return fill(expand(rng, Q.ORDINAL[unit], held), o=W.ORDINALS[i]), f"The {W.ORDINALS[i]} {unit} is {names[i]}.", {"all": [names[i]]}
    if kind == 7:
        n = W.MONTH_DAYS[i % 12]
        month = W.MONTHS[i % 12]
        return fill(expand(rng, Q.MONTH_LENGTH, held), m=month), f"{month} has {n} days.", {"all": [f"{n} days"]}
    if kind == 8:
        return expand(rng, Q.LIST_ALL[unit], held), ", ".join(names) + ".", {"all": [", ".join(names)]}
    q, ans, key = pick(rng, Q.HOW_LONG)
    return expand(rng, q, held), ans, {"all": [key]}


# ---------------------------------------------------------------- numbers
def operands(rng):
    """Half of the pairs are small or round, as people ask them."""
    r = rng.random()
    top = 10 if r < 0.2 else 20 if r < 0.4 else 100
    x, y = int(rng.random() * (top + 1)), int(rng.random() * (top + 1))
    return x, y


def sum_key(expect, x, y):
    """From 11 on the pair itself is held out, not only its wording."""
    if x > 10 and y > 10:
        expect["key"] = f"{min(x, y)}-{max(x, y)}"
    return expect


def in_words(rng, x, y):
    if x < 13 and y < 13 and rng.random() < 0.15:
        return {"x": W.SMALL_NUMBERS[x], "y": W.SMALL_NUMBERS[y]}
    return {"x": x, "y": y}


def addition(rng, held):
    x, y = operands(rng)
    while x + y > 100 and rng.random() < 0.8:
        x, y = operands(rng)
    return fill(expand(rng, Q.SUM, held), **in_words(rng, x, y), t=pick(rng, Q.COUNTED), n=any_name(rng)), f"{x} + {y} = {x + y}.", \
        sum_key({"number": x + y}, x, y)


def subtraction(rng, held):
    x, y = operands(rng)
    below = rng.random() < 0.07
    if (y > x) != below:
        x, y = y, x
    return fill(expand(rng, Q.DIFFERENCE, held), **in_words(rng, x, y), t=pick(rng, Q.COUNTED), n=any_name(rng)), f"{x} - {y} = {x - y}.", \
        sum_key({"all": [f"= {x - y}."]}, x, y)


def number_list(rng, n):
    top = 10 if rng.random() < 0.25 else 100
    return rng.sample(range(top), n)


def sorting(rng, held):
    if rng.random() < 0.1:
        x, y = number_list(rng, 2)
        more = rng.random() < 0.5
        best = max(x, y) if more else min(x, y)
        word = pick(rng, ("bigger", "larger", "greater", "higher", "more") if more else ("smaller", "less", "lower"))
        return fill(expand(rng, Q.COMPARE, held), w=word, x=x, y=y), f"{best}", {"number": best}
    n = pick(rng, (2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5))
    items = number_list(rng, n)
    text = pick(rng, (", ", ", ", ", ", " ", " ", ",", "; ", " and ")).join(map(str, items))
    if rng.random() < 0.25:
        biggest = rng.random() < 0.5
        word = pick(rng, ("biggest", "largest", "highest", "greatest") if biggest else ("smallest", "lowest", "least"))
        best = max(items) if biggest else min(items)
        return fill(expand(rng, Q.EXTREME, held), w=word, l=text), f"{best}", {"number": best}
    down = rng.random() < 0.3
    result = sorted(items, reverse=down)
    return fill(expand(rng, Q.DESCENDING if down else Q.ASCENDING, held), l=text), ", ".join(map(str, result)) + ".", \
        {"list": result, "key": ",".join(map(str, sorted(items)))}


def counting(rng, held):
    kind = rng.random()
    if kind < 0.45:
        start = 1 if rng.random() < 0.4 else int(rng.random() * 20)
        end = start + 2 + int(rng.random() * 9)
        seq = list(range(start, end + 1))
        if rng.random() < 0.25:
            seq.reverse()
            how = Q.COUNT_DOWN
        elif start == 1 and rng.random() < 0.6:
            how = Q.COUNT_TO
            if rng.random() < 0.3 and end <= 12:
                how = how.replace("<y>", W.SMALL_NUMBERS[end])
        else:
            how = Q.COUNT_FROM
        return fill(expand(rng, how, held), x=seq[0], y=seq[-1]), ", ".join(map(str, seq)) + ".", {"list": seq}
    if kind < 0.6:
        n = int(rng.random() * 100)
        if rng.random() < 0.5:
            return fill(expand(rng, Q.NEXT_NUMBER, held), n=n), f"{n + 1} comes after {n}.", {"all": [f"{n + 1} comes"]}
        n += 1
        return fill(expand(rng, Q.NUMBER_BEFORE, held), n=n), f"{n - 1} comes before {n}.", {"all": [f"{n - 1} comes"]}
    n = 1 + int(rng.random() * 7)
    items = rng.sample(W.LIST_WORDS, n) if rng.random() < 0.8 else [str(v) for v in rng.sample(range(100), n)]
    text = ", ".join(items) if rng.random() < 0.8 else " ".join(items)
    # the answer counts aloud: a transformer finds "the next item, the next number" far easier than a sum at sight
    aloud = ", ".join(f"{i + 1} {w}" for i, w in enumerate(items)) if not items[0][0].isdigit() else None
    return fill(expand(rng, Q.HOW_MANY, held), l=text), (f"{aloud}. That is {n}." if aloud else f"That is {n}."), {"number": n}


# ---------------------------------------------------------------- copying
def echo(rng, held):
    kind = rng.random()
    if kind < 0.2:                                  # not copying, but stories about a name need it
        girl = rng.random() < 0.5
        name = pick(rng, W.GIRLS if girl else W.BOYS)
        return fill(expand(rng, Q.GIRL_OR_BOY, held), n=name), f"{name} is a {'girl' if girl else 'boy'}.", {"all": [" girl." if girl else " boy."]}
    if kind < 0.7:
        n = 1 + int(rng.random() * 5)
        pool = rng.random()
        items = [any_name(rng) for _ in range(n)] if pool < 0.3 else rng.sample(W.LIST_WORDS, n) if pool < 0.4 else \
            [str(int(rng.random() * 10 ** (1 + int(rng.random() * 4)))) for _ in range(n)] if pool < 0.48 else \
            [invented(rng) if rng.random() < 0.3 else invented(rng).lower() for _ in range(n)]
        text = pick(rng, (" ", ", ")).join(items)
        # " spoon" and "spoon" are different tokens: after a colon the copy is of the token itself, the easiest drill there is
        return fill(expand(rng, Q.REPEAT, held), t=text), f"I repeat: {text}", {"all": [text]}
    if kind < 0.78:
        name = any_name(rng)
        word = pick(rng, ("hello", "goodbye", "good night", "thank you", "good morning"))
        return fill(expand(rng, Q.SAY_TO, held), w=word, n=name), f"{cap(word)}, {name}!", {"all": [name]}
    items = rng.sample(W.LIST_WORDS, 2 + int(rng.random() * 4)) if rng.random() < 0.6 else [any_name(rng) for _ in range(3)]
    where = pick(rng, ("first", "last", "second"))
    value = {"first": items[0], "last": items[-1], "second": items[1]}[where]
    return fill(expand(rng, Q.WHICH_ITEM, held), o=where, l=", ".join(items)), f"The {where} is {value}.", {"all": [f" {value}."]}


# ---------------------------------------------------------------- what it does not know, in the shape of what it knows
def unknown(rng, held):
    kind = int(rng.random() * 16)
    know = {"any": ["don't know", "only", "can't", "no flag", "no command", "not told"]}
    if kind < 3:
        country = invented(rng) if rng.random() < 0.4 else pick(rng, W.OTHER_COUNTRIES)
        q, answer, _ = capitals(rng, held)
        while "<" in q or not answer.startswith("The capital"):
            q, answer, _ = capitals(rng, held)
        known = answer.split(" of ")[1].split(" is ")[0]
        return q.replace(known, country), f"{DONT_KNOW} the capital of {country}.", know
    if kind == 3:
        word = pick(rng, W.NO_OPPOSITE) if rng.random() < 0.7 else invented(rng).lower()
        q, answer, _ = opposites(rng, held)
        known = answer.split(" of ")[1].split(" is ")[0]
        return _swap(q, known, word), f"{DONT_KNOW} the opposite of {word}.", know
    if kind == 4:
        thing = pick(rng, W.NO_COLOUR)
        q, answer, _ = colours(rng, held)
        known = answer.split(" is ")[0]
        the = a(thing)
        return _swap(q, known[0].lower() + known[1:], the), f"{cap(the)} can have any colour, so {DONT_KNOW}.", know
    if kind == 5:
        animal = pick(rng, W.NO_SOUND) if rng.random() < 0.8 else invented(rng).lower()
        q, answer, _ = sounds(rng, held)
        known = answer.split(" says ")[0]
        while answer.split(" says ")[1].rstrip(".") in q:
            q, answer, _ = sounds(rng, held)
            known = answer.split(" says ")[0]
        known = known[0].lower() + known[1:]
        q = _swap(q, known, a(animal))
        return _swap(q, known.split(" ", 1)[1], animal), f"{DONT_KNOW} the sound of {a(animal)}.", know
    if kind == 6:
        flag = pick(rng, guide.FAKE_FLAGS) if rng.random() < 0.7 else "--" + invented(rng).lower()
        return fill(expand(rng, guide.FLAG, held), f=flag), f"{DONT_KNOW} the flag {flag}. Type signum --help to see all flags.", know
    if kind == 7:
        command = pick(rng, guide.FAKE_COMMANDS)
        return fill(expand(rng, guide.CMD, held), f=command), f"{DONT_KNOW} the command {command}. Type signum --help to see all commands.", know
    if kind < 10:
        x, y = int(rng.random() * 100), int(rng.random() * 100)
        big = 101 + int(rng.random() * 900)
        ask = pick(rng, ("{What is|What's|How much is|Calculate|Compute|~What is the result of} <x> {*|times|x|divided by|/} <y>{?|}|<x> {*|times|x|/} <y>{?|}|{Multiply|Divide} <x> by <y>{.|}|<x>{*|/}<y>{?|}",
                         "{What is|What's|How much is|} <x> {+|plus} <y> {+|plus} <x>{?|}",
                         "{What is|What's|How much is|Calculate|Compute|~What is the result of} {<b> {+|-|plus|minus} <y>|<x> {+|plus} <b>}{?|}|{<b> {+|-|plus|minus} <y>|<x> {+|plus} <b>}{?|}"))
        return fill(expand(rng, "{" + ask + "}", held), x=x, y=y, b=big), f"{DONT_KNOW}. I can only add or subtract two numbers to 100.", know
    if kind == 10:
        return (*not_told(rng, held), know)
    topic = pick(rng, ("the weather", "football", "the news", "politics", "history", "music", "chemistry", "films", "cooking",
                       "physics", "biology", "Python", "the stock market", "medicine", "law", "art", "space", "computers", "money", "God"))
    ask = "{What is the meaning of {life|this}?|{Tell me|What do you know|Explain|Can you tell me} {something |}about " + topic + "{.|?|}|{What is|What's} {the weather|the time|the date|the news|the price of gold|love|happiness|gravity|water made of|the biggest city|the highest mountain|the longest river|the speed of light|the square root of 2|pi|a black hole|DNA|the internet}{?| today?}|Who {won|will win} the {match|game|election|cup}?|Who {is|was} {the president|Einstein|Napoleon|Newton|Mozart|Shakespeare|the first man on the moon|the pope|<n>}?|When {was|did} {the war|the war end|<n> born|Rome built}?|Where {is|does} {my phone|<n>|<n> live|the station|God}?|{Translate|Spell} {<n>|hello|this|water|thank you}{.| into French.| into German.}|{Write|Can you write|Make} {a poem|code|a song|a program|an email|a letter|a Python program}{.|?| for me.| about love.}|Why is the sky {blue|dark}?|Why do {birds sing|we sleep|people cry|cats purr}?|How old {is <n>|is the earth|is the sun|are trees|are <n> and <n>}?|How far is {the moon|the sun|<n>}?|How do I {cook rice|bake bread|fix my car|lose weight|get rich|learn to drive|make tea}?|What should I {eat|do|read|wear|buy}{| today| tonight}?|How many people live in {Paris|London|China|<n>}?|How {tall|heavy|old|rich} is <n>?|What {happened in|do you know about} <y>?|What is <n>?|What does <n> mean?|~Can you explain " + topic + " to me?|~Who is the king of {Spain|England|<n>}?|~What time is it?|~Is there life {on Mars|after death}?}"
    if kind > 13:                                   # nonsense in many shapes: any question that is not on a list
        ask = "{{Teach me|I want to learn|I study|I like|Do you like|What is} " + topic + "{.||?}|{Is|Why is} " + topic + " {hard|fun|important|useful|good|boring}?|Who is {good at|the best in} " + topic + "?|{Is|Are} there {water|snow|life|a <w>|people|<w>s|many <w>s} {in the <v>|on the moon|here|in the sea|in my town|near me}?|Who is the {mayor|president|boss|teacher|father} of {Italy|France|<n>|my town}?|What is the {name|age|job|price|size|weight|shape|smell} of {<n>|the <w>|a <w>}?|Tell me the {price|age|weight|name} of the <w>.|How much {is|does} {a|the} <w>{| cost| weigh}?|When does the <w> {come|open|start|end}?|Can I {eat|buy|borrow|sell} {a|the|your} <w>?|Which is better, a <w> or a <v>?|{Which|What} {film|song|game|sport|food} do you like?|{Will|Does} it {rain|snow} {today|tomorrow|in <n>}?|What {year|day|hour} is it{| today| now}?|{Has|Did} <n> {come|call|eat|win|go home}{| today}?|How {do|can} {I|you|we} {find|fix|paint|make|cook|clean|draw|build|wash|carry|grow|open|break|win|lift} {a|the|my} <w>?|Why {is|was} {a|the|my} <w> {so |}{big|small|<c>|old|expensive|important|good|dangerous}?|What is {a|the} <w>{| made of| for}?|{Who|Where|When} {is|was} {the|my} <w>?|{Who|Where|When|Why|How} {is|was} <n>?|Who {invented|made|built|discovered|wrote|painted} the <w>?|How many <w>s {are there|do I need|can I eat|fit in a <v>}?|What is the {difference|distance} between a <w> and a <v>?|{What|Which} <w> is {the |}{best|biggest|oldest|right one|good for me}?|{Can|Could|Will|Should|Did|Does} {a <w>|<n>|my <w>} {fly|swim|talk|win|help me|come back|live here|eat a <v>}?|Is {a <w>|<n>|my <w>} {good|bad|<c>|old|a <v>|bigger than a <v>}?|{What|How} do you think {of|about} {<n>|my <w>|the <w>}?|{Give|Show|Find|Buy|Bring} me {a|the} {<c> |}<w>{.|}|Do you like {<w>s|<n>|my <w>}?|{What|Who} do you {like|want|see|hear}?|{I|We} {have|saw|lost|bought|need|like} {a|the} {<c> |}<w>.|My <w> is {<c>|old|broken|ill}.|<n> is {my friend|a friend|here|ill|a <w>}.|The <w> is {on|under|behind} the <v>.|~Have you {seen|got} a <w>?|~What happens to {a|the} <w>?|~Whose <w> is {this|it}?}"
    nouns = W.LIST_WORDS + W.NO_OPPOSITE
    q = fill(expand(rng, ask, held), n=any_name(rng), y=1200 + int(rng.random() * 800), w=pick(rng, nouns), v=pick(rng, nouns),
             c=pick(rng, W.COLOUR_NAMES))
    return q, f"{DONT_KNOW} that. I am a very small model. Get Bonsai for such questions.", know


NOT_TOLD = {
    "name": ("your name", "{What is my name?|Do you know my name?|Who am I?|What's my name?|Tell me my name.|Can you say my name?|~Do you remember my name?|~What am I called?}"),
    "number": ("your number", "{What number did I {tell you|say|give you}?|{What is|What's|What was} my number?|Do you know my number?|Tell me my number.|Which number did I {tell you|say}?|~Do you remember my number?}"),
    "colour": ("your favourite colour", "{{What is|What's} my favourite {colour|color}?|Do you know my favourite {colour|color}?|{Which|What} {colour|color} do I like?|~Do you remember my favourite {colour|color}?}"),
    "pet": ("the name of your pet", "{{What is|What's} the name of my {dog|cat|pet}?|{What is|What's} my {dog|cat|pet} called?|Do you know the name of my {dog|cat|pet}?|~Do you remember the name of my {dog|cat|pet}?}")}


def not_told(rng, held, kind=None):
    what, ask = NOT_TOLD[kind or pick(rng, list(NOT_TOLD))]
    return expand(rng, ask, held), f"{DONT_KNOW} {what}. You have not told me."


def _swap(question, old, new):
    """Replaces a word, at word borders where there is a choice."""
    for left in (" ", ""):
        for right in (" ", "?", ".", ":", ",", ""):
            if left + old + right in question:
                return question.replace(left + old + right, left + new + right, 1)
            if left + cap(old) + right in question:
                return question.replace(left + cap(old) + right, left + cap(new) + right, 1)
    return question


def story(rng, held):
    ask, answer, need = stories.request(rng, held)
    return expand(rng, "{" + ask + "}", held), answer, {"all": need or [], "story": True}


ABILITIES = {"talk": talk, "identity": identity, "guide": guide_fact, "capitals": capitals, "opposites": opposites,
             "plurals": plurals, "colours": colours, "sounds": sounds, "calendar": calendar, "addition": addition,
             "subtraction": subtraction, "sorting": sorting, "counting": counting, "echo": echo, "unknown": unknown,
             "story": story}
# How often each is asked. Weights follow what a turn costs and how late an ability comes in training.
WEIGHTS = {"talk": 14, "identity": 14, "guide": 10, "capitals": 7, "opposites": 10, "plurals": 9, "colours": 2, "sounds": 2,
           "calendar": 7, "addition": 21, "subtraction": 42, "sorting": 40, "counting": 10, "echo": 22, "unknown": 12,
           "story": 10}
_NAMES, _CUM = list(WEIGHTS), []
for _name in _NAMES:
    _CUM.append(WEIGHTS[_name] + (_CUM[-1] if _CUM else 0))


def turn(rng, ability=None, held=False, split=None):
    """One question and its answer. Training (split None) skips what hashes into the evaluation bucket."""
    ability = ability or rng.choices(_NAMES, cum_weights=_CUM)[0]
    while True:
        question, answer, expect = ABILITIES[ability](rng, held)
        asked = decorate(rng, question, ability not in ("talk", "echo", "story", "unknown"), 0.3 if ability in ("talk", "identity") else 0.12)
        if ability in ("talk", "identity"):
            # "Hey" is a whole wording: holding it out would only teach the model not to know it. Here the hold-out is of
            # wordings with one of the last prefixes.
            kept = asked.lower().startswith(HELD_PREFIX) and bucket(asked, 4) == 0
        else:
            kept = bucket(expect.pop("key", question)) == 0
        if split == "wording" or kept == (split == "combination"):
            return asked, answer, expect


PREFIX = ("Please tell me: ", "Hello! ", "Hi, ", "OK. ", "So, ", "I have a question. ", "Quick question: ", "Now: ",
          "Another question: ", "And ", "Hey, ", "Good. ", "Thanks. ", "Next: ",
          "Well, ", "Excuse me, ", "Ah, ", "Just asking: ", "One more: ", "Oh, ", "Look: ", "Hm, ", "Sorry, ", "Good morning! ", "Yes. ",
          "One thing: ")
HELD_PREFIX = tuple(p.lower() for p in PREFIX[-12:])


def decorate(rng, question, may_lower=False, opened=0.12):
    """People greet (a share `opened` of them), forget capitals (may_lower: those of names too) and leave out the question mark."""
    question = question.strip()
    r = rng.random()
    if r < opened:
        question = pick(rng, PREFIX) + (question if rng.random() < 0.5 else question[:1].lower() + question[1:])
    elif r < opened + 0.03:
        question = question.rstrip(".?!") + pick(rng, (", please.", " please", " thanks"))
    r = rng.random()
    if r < 0.17 and may_lower and "SIGNUM" not in question:
        question = question.lower()
        if rng.random() < 0.2:
            question = question.replace("'", "")    # "whats"
    elif r < 0.35:
        question = question[:1].lower() + question[1:]
    if rng.random() < 0.35 and question[-1] in "?.!":
        question = question[:-1]
    return question


# ---------------------------------------------------------------- memory: a statement, other turns, then the question
def memory_item(rng, held=False):
    """-> kind, statement, reply, question, answer, value"""
    kind = pick(rng, ("name", "name", "name", "number", "number", "colour", "colour", "pet", "pet"))
    if kind == "name":
        value = any_name(rng)
        if rng.random() < 0.08:
            value = value.lower()                   # people type so
        say = f"{{{{My name is|I am|I'm|Call me|You can call me|Hello, I am|Hi, my name is|Hi, I'm|Hello, my name is|Remember: my name is|People call me|Please remember that my name is}} {value}{{.|!|}}|My name's {value}.|{value} is my name.|~I am called {value}.|~The name is {value}.}}"
        reply = f"Hello, {value}! How can I help you?"
        ask = "{{What is|What's} my name?|Do you {know|remember} my name?|Who am I?|{Tell me|Say} my name.|What did I say my name {is|was}?|What {is|was} my name{| again}?|Can you {tell me|say} my name?|Please {tell me|say} my name.|~What am I called?|~Which name did I {say|tell you}?}"
        answer = f"Your name is {value}."
    elif kind == "number":
        value = str(int(rng.random() * (100 if rng.random() < 0.7 else 10000)))
        say = f"{{{{Remember|Please remember|Remember this|Keep in mind}} the number {value}{{.||!}}|{{Remember|Please remember|Keep in mind}}{{|:}} {value}{{.|}}|My {{|lucky |favourite }}number is {value}{{.|}}|The number is {value}.|~{{The number to remember|My secret number}} is {value}.}}"
        reply = f"OK, I will remember {value}."
        ask = "{What number did I {tell you|say|give you}?|{What is|What's|What was} {my|the} {|lucky |favourite }number{| again}?|{What|Which} number {did you remember|should you remember|do you remember}?|Do you {know|remember} {the|my} number?|{Tell me|Say} {the|my} number{| again}.|Which number did I {tell you|say}?|~Which number {is|was} it?|~Can you {tell me|say} {the|my} number?}"
        answer = f"The number is {value}."
    elif kind == "colour":
        value = pick(rng, W.COLOUR_NAMES)
        say = f"{{My favourite {{colour|color}} is {value}{{.|!|}}|I {{like|love}} {value}.|The {{colour|color}} {{that I like|I like}} {{most|best}} is {value}.|{cap(value)} is my favourite {{colour|color}}.|Remember that {{my favourite {{colour|color}} is|I like}} {value}.|~I like {value} {{best|most}}.}}"
        reply = f"OK, your favourite colour is {value}."
        ask = "{{What is|What's|What was} my favourite {colour|color}{| again}?|{Which|What} {colour|color} do I {like|love}{| most| best}?|Do you {know|remember} my favourite {colour|color}?|{Tell me|Say} my favourite {colour|color}.|~What {colour|color} did I say I {like|love}?}"
        answer = f"Your favourite colour is {value}."
    else:
        value, pet = any_name(rng), pick(rng, ("dog", "cat", "bird", "horse", "rabbit"))
        say = f"{{My {pet} is {{called|named}} {value}{{.|!|}}|My {pet}'s name is {value}.|I have a {pet} {{named|called}} {value}{{.|!|}}|The name of my {pet} is {value}.|~I call my {pet} {value}.}}"
        reply = f"{value} is a nice name for a {pet}."
        ask = f"{{{{What is|What's|What was}} {{the name of my {pet}|my {pet}'s name}}{{| again}}?|{{What is|How is}} my {pet} called?|Do you {{know|remember}} the name of my {pet}?|{{Tell me|Say}} the name of my {pet}.|~What {{do I call|did I call}} my {pet}?}}"
        answer = f"Your {pet} is called {value}."
    if held and rng.random() < 0.5:                 # a new wording of the question or of the statement
        return kind, expand(rng, say), reply, expand(rng, ask, True), answer, value
    return kind, expand(rng, say, held), reply, expand(rng, ask), answer, value


def memory_turns(rng, held=False, split=None):
    """A conversation around one to three remembered things; the last turn is always a memory question."""
    items = {}
    for _ in range(1 + (rng.random() < 0.4) + (rng.random() < 0.2)):
        item = memory_item(rng, held)
        items.setdefault(item[0], item)
    turns, items = [], list(items.values())
    filler = lambda most: turns.extend(short_turn(rng, split) for _ in range(int(rng.random() ** 1.5 * (most + 1))))
    for kind, say, reply, *_ in items:
        turns.append((say, reply, None))
        filler(1)
    if rng.random() < 0.1 and split is None and items[0][0] == "name":     # people correct themselves
        value = any_name(rng)
        turns.append((expand(rng, f"{{No, my|Sorry, my|Actually, my|My}} name is {{now |}}{value}."), f"Hello, {value}! How can I help you?", None))
        items[0] = (*items[0][:4], f"Your name is {value}.", value)
    filler(3)
    if split is None and rng.random() < 0.06:
        filler(25)
    rng.shuffle(items)
    for i, (kind, _, _, ask, answer, value) in enumerate(items):
        if i == 0 or rng.random() < 0.7:
            turns.append((decorate(rng, ask), answer, {"all": [value]}))
    missing = [k for k in NOT_TOLD if k not in {item[0] for item in items}]
    if split is None and missing and rng.random() < 0.15:
        turns.append((*not_told(rng, False, pick(rng, missing)), None))
    return turns


def short_turn(rng, split=None):
    while True:
        ability = rng.choices(_NAMES, cum_weights=_CUM)[0]
        if ability == "story" and rng.random() < 0.8 or ability == "unknown":
            continue
        question, answer, expect = turn(rng, ability)
        if not answer.startswith("Hello, "):            # a filler turn must not introduce a second name
            return question, answer, expect


# ---------------------------------------------------------------- documents
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"


def render(turns, system=None):
    """-> pieces (text, scored). The template is plain ChatML, so history is rendered as it was generated."""
    pieces = [("<|im_start|>system\n" + system + END + "\n", False)] if system else []
    for question, answer, _ in turns:
        pieces.append((USER + question + END + "\n" + ASSISTANT, False))
        pieces.append((answer + END, True))
        pieces.append(("\n", False))
    return pieces


def document(rng):
    """One training document as pieces (text, scored)."""
    r = rng.random()
    if r < 0.05:
        return [(stories.story(rng) + "<|endoftext|>", True)]
    system = pick(rng, SYSTEMS) if rng.random() < 0.12 else None
    if r < 0.17:
        return render(memory_turns(rng), system)
    n = 1 + int(rng.random() ** 2 * 5)
    if rng.random() < 0.007:
        n += 10 + int(rng.random() * 25)            # long conversations, up to the context length
    turns = []
    while len(turns) < n:
        new = turn(rng)
        # "I don't know your name" would be a lie after "Hello, I am Tom"
        if not ("have not told" in new[1] and any(answer.startswith("Hello, ") for _, answer, _ in turns)):
            turns.append(new)
    return render(turns, system)


def documents(seed):
    rng = random.Random(seed)
    while True:
        yield document(rng)


if __name__ == "__main__":
    import itertools
    import sys
    for pieces in itertools.islice(documents(int(sys.argv[2]) if len(sys.argv) > 2 else 1), int(sys.argv[1])):
        print("".join(text for text, _ in pieces), end="\n----\n")
