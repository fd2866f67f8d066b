"""The training text: conversations and stories made from grammars, endless and the same for the same seed.

Every ability is a function (rng, held) -> (question, answer, expectation). The expectation is what score.py checks:
{"all": [...]} every string occurs, {"any": [...]} one of them does, {"number": n} is the last number of the answer,
{"list": [...]} are exactly its numbers. held=True asks for a wording that training never uses.
"""
import random

import guide
import stories
import words as W
from grammar import a, bucket, cap, expand, fill
from stories import any_name, invented, pick

SYSTEMS = ["You are a helpful assistant.", "You are a friendly assistant.", "Be brief.", "Be helpful and kind.",
           "You are a small model.", "Answer in short sentences.", "You answer questions about signum.",
           "You tell stories to children.", "You are a patient teacher."]
DONT_KNOW = "I don't know"


# ---------------------------------------------------------------- small talk and identity
TALK = [
    (["hello"], "{Hello|Hi|Hey|Good {morning|evening|afternoon|day}|Hello there|Hi there|Greetings|hey there|~Hey you|~Hello model}{!|.||!!}",
     "{Hello! How can I help you?|Hello! What would you like to know?}"),
    (["hello"], "{Hello|Hi|Hey}, {I am|I'm|my name is|this is} <name>{!|.|}", "Hello, <name>! How can I help you?"),
    (["well"], "{How are you{| today| doing}?|How do you do?|How is it going?|Are you {well|fine|OK}?|How do you feel{| today}?|~How are things?|~Do you feel {well|good}?}",
     "I am well, thank you. How can I help you?"),
    (["welcome"], "{Thanks|Thank you|Thank you {very much|so much}|Thanks a lot|Many thanks|That {was|is} {helpful|good|great|nice}, {thanks|thank you}|~Thank you for the {help|answer}}{!|.|}",
     "You are welcome!"),
    (["goodbye"], "{Bye|Goodbye|Bye bye|See you{| later| soon}|Good night|I have to go{| now}|{Bye|Goodbye} for now|~Goodbye, {friend|model}|~I am leaving{| now}}{!|.|}",
     "Goodbye! Have a nice day."),
    (["glad"], "{{Good|Great|Nice|Well done|Very good|Wonderful|Correct|That is right|You are {good|great|clever|kind}|I like {you|that|it}}|~That was {good|clever}}{!|.|}",
     "I am glad to hear that!"),
    (["sorry"], "{That is {wrong|not right|false|bad}|You are wrong|Wrong|No, {that is wrong|that is not right}|That was wrong|~Your answer {is|was} wrong}{!|.|}",
     "I am sorry. I am a very small model and I make mistakes."),
    (["ask"], "{OK|Okay|Yes|No|Fine|Good to know|I see|Sure|All right|Hm}{!|.|}", "OK. You can ask me something else."),
]
IDENTITY = [
    (["signum-demo"], "{{Who|What} are you{| really| exactly}?|What {is your name|are you called}?|What's your name?|{Tell me|Say} {who|what} you are.|{Tell me|Say} your name.|Introduce yourself.|{Tell me something|Tell me|Something} about {yourself|you}.|Do you have a name?|Who am I {talking|speaking} {to|with}?|{What|Which} model {are you|is this|am I talking to}?|~{Please say|Can you say} who you are.|~What should I call you?}",
     "I am signum-demo, a tiny 1-bit language model that comes with signum."),
    (["greet", "stor"], "{What can you do{| for me}?|What do you know?|What are you {good at|able to do|for}?|{How|What} can you help{| me}{| with}?|{Tell|Show} me what you can do.|What can I ask{| you}?|What {questions|things} can {I ask|you answer}?|Can you help{| me}?|~What are your {abilities|skills}?|~{List|Name} what you can do.}",
     "I can greet you, explain signum, tell short stories, add and subtract to 100, sort and count, answer some simple facts, and remember a name or number."),
    (["people", "signum"], "{Who {made|built|trained|created|wrote|~invented} {you|this model|signum-demo}?|Who is your {maker|creator|author}?|Where do you come from?|{How|By whom} were you {made|built|trained|created}?|Were you made by {Google|OpenAI|a company}?|~Who are your makers?}",
     "I was trained from scratch by the people who make signum, on a normal CPU."),
    (["program"], "{Are you {a human|human|a person|a robot|alive|real|a man|a woman|a computer|an AI|a bot|a machine|a program|~a living thing}?|Do you {have feelings|sleep|eat|dream|live|have a body}?}",
     "I am not a person. I am a tiny language model, a program."),
    (["5 million"], "{How {big|large|small} are you?|What is your size?|How many {weights|parameters|bits} do you have?|How many {weights|parameters} are there in {you|this model}?|Are you {a big|a large|a small|a tiny} model?|Are you {big|large|small|tiny}?|~Tell me your size.|~How big is this model?}",
     "I am tiny: about 5 million weights of one bit each, less than 1 MB."),
    (["signum chat"], "{Are you {Bonsai|ChatGPT|GPT|Qwen|Claude|Siri|Alexa|a real model|a good model}?|Is this {Bonsai|ChatGPT|Qwen}?|~Am I talking to {Bonsai|ChatGPT|Qwen}?}",
     "No, I am signum-demo, a tiny model. For a real one, get Bonsai and run: signum chat -m models/Bonsai-1.7B-Q1_0.gguf"),
    (["mistakes"], "{Are you {clever|smart|intelligent|good|wise}?|Can I {trust you|believe you|rely on you}?|Do you make mistakes?|Are {you|your answers} {always |}{right|correct|true}?|Why are you {so |}{stupid|bad|wrong|simple}?|~How {clever|smart} are you?|~Do you know everything?}",
     "I am very small, so I know little and make mistakes. Get Bonsai for better answers."),
    (["English"], "{{What|Which} languages do you {speak|know|understand}?|Do you {speak|understand|know} {English|German|French|Spanish|Chinese|Italian|~Greek}?|Can you {speak|write} {German|French|Spanish|Chinese|Italian}?|~Can we talk in {German|French|Spanish}?}",
     "I only know simple English."),
    (["one bit", "small"], "{Why are you so {small|tiny|fast|little}?|How do you work?|What are you made of?|What is special about you?|How can you be so {small|fast}?|~Why is this model so {small|fast|tiny}?}",
     "Each of my weights is one bit, plus or minus. That makes me small and fast."),
]


def talk(rng, held):
    keys, ask, answer = pick(rng, TALK)
    name = any_name(rng)
    answer = expand(rng, answer)
    return fill(expand(rng, ask, held), name=name), fill(answer, name=name), {"all": [keys[0]]}


def identity(rng, held):
    keys, ask, answer = pick(rng, IDENTITY)
    return expand(rng, ask, held), answer, {"all": keys}


def guide_fact(rng, held):
    keys, asks, answer = pick(rng, guide.FACTS)
    if held:
        heldable = [w for w in asks if "~" in w]
        asks = heldable or asks
    return expand(rng, pick(rng, asks), held), answer, {"all": keys}


# ---------------------------------------------------------------- facts
def capitals(rng, held):
    country = pick(rng, list(W.CAPITALS))
    city = W.CAPITALS[country]
    if rng.random() < 0.2:
        ask = "{<city> is the capital of {what|which} country?|Which country has the capital <city>?|What country is <city> {in|the capital of}?|Where is <city>?|In {what|which} country is <city>?|~<city> is in {what|which} country?}"
        return fill(expand(rng, ask, held), city=city), f"{city} is the capital of {country}.", {"all": [country]}
    ask = "{What is the capital {of|city of} <c>?|What's the capital of <c>?|{Which|What} city is the capital of <c>?|{Tell me|Name|Give me|Say} the capital of <c>.|{Capital|The capital} of <c>?|What is <c>'s capital?|Do you know the capital of <c>?|The capital of <c> is{| what}?|<c>'s capital?|I want to know the capital of <c>.|Can you tell me the capital of <c>?|What capital does <c> have?|What do you call the capital of <c>?|~How is the capital of <c> called?|~Which city is <c>'s capital?|~For <c>, what is the capital?}"
    return fill(expand(rng, ask, held), c=country), f"The capital of {country} is {city}.", {"all": [city]}


def opposites(rng, held):
    word = pick(rng, list(W.OPPOSITES))
    ask = "{What is the opposite of <w>?|What's the opposite of <w>?|{Tell me|Name|Give me|Say} the opposite of <w>.|{Opposite|The opposite} of <w>?|Do you know the opposite of <w>?|{What|Which} word is the opposite of <w>?|What is the opposite of the word <w>?|I want to know the opposite of <w>.|The opposite of <w> is{| what}?|Can you tell me the opposite of <w>?|<w>: what is the opposite?|Give me a word that is the opposite of <w>.|~How do you call the opposite of <w>?|~Which word means the opposite of <w>?|~For the word <w>, what is the opposite?}"
    return fill(expand(rng, ask, held), w=word), f"The opposite of {word} is {W.OPPOSITES[word]}.", {"all": [W.OPPOSITES[word] + "."]}


def plurals(rng, held):
    word = pick(rng, list(W.PLURALS))
    ask = "{What is the plural {of|form of} <w>?|What's the plural of <w>?|{Tell me|Name|Give me|Say} the plural of <w>.|{Plural|The plural} of <w>?|Do you know the plural of <w>?|What is the plural of the word <w>?|{What|Which} word is the plural of <w>?|One <w>, {two|many|three} what?|I want to know the plural of <w>.|The plural of <w> is{| what}?|Can you tell me the plural of <w>?|{What|How} do you {call|say} more than one <w>?|<w>: what is the plural?|~What do you call {two|many} of <w>?|~How is the plural of <w> called?|~For the word <w>, what is the plural?}"
    return fill(expand(rng, ask, held), w=word), f"The plural of {word} is {W.PLURALS[word]}.", {"all": [W.PLURALS[word] + "."]}


def colours(rng, held):
    thing = pick(rng, list(W.COLOURS))
    the = thing if thing in W.MASS else "the " + thing if thing in W.THE else a(thing)
    ask = "{What {colour|color} is <t>?|What is the {colour|color} of <t>?|What's the {colour|color} of <t>?|Which {colour|color} is <t>?|Which {colour|color} does <t> have?|What {colour|color} does <t> have?|Tell me the {colour|color} of <t>.|{Name|Give me|Say} the {colour|color} of <t>.|Do you know the {colour|color} of <t>?|{Colour|Color} of <t>?|The {colour|color} of <t> is{| what}?|Can you tell me {what|which} {colour|color} <t> is?|I want to know the {colour|color} of <t>.|Tell me {what|which} {colour|color} <t> is.|~What would you say is the {colour|color} of <t>?|~For <t>, what is the {colour|color}?|~<t> has {which|what} {colour|color}?}"
    return fill(expand(rng, ask, held), t=the), f"{cap(the)} is {W.COLOURS[thing]}.", {"all": [W.COLOURS[thing]]}


def sounds(rng, held):
    animal = pick(rng, list(W.SOUNDS))
    if rng.random() < 0.2:
        ask = "{{What|Which} animal says <s>?|{What|Which} animal makes the sound <s>?|Who says <s>?|Tell me which animal says <s>.|~What kind of animal says <s>?}"
        return fill(expand(rng, ask, held), s=W.SOUNDS[animal]), f"{cap(a(animal))} says {W.SOUNDS[animal]}.", {"all": [animal]}
    ask = "{What does {<a>|the <b>} say?|What sound does {<a>|the <b>} make?|What is the sound of <a>?|What noise does {<a>|the <b>} make?|Which sound does {<a>|the <b>} make?|How does {<a>|the <b>} {sound|go}?|Tell me {the sound of|what sound is made by} <a>.|Do you know what {<a>|the <b>} says?|Tell me what {<a>|the <b>} says.|What do you hear from <a>?|Can you tell me the sound of <a>?|{Sound|The sound} of <a>?|What sound do you hear from <a>?|Give me the sound of <a>.|~What kind of sound does {<a>|the <b>} make?|~Which noise do you hear from <a>?|~For <a>, what is the sound?}"
    return fill(expand(rng, ask, held), a=a(animal), b=animal), f"{cap(a(animal))} says {W.SOUNDS[animal]}.", {"all": [W.SOUNDS[animal]]}


def calendar(rng, held):
    kind = int(rng.random() * 10)
    names, unit = (W.DAYS, "day") if rng.random() < 0.45 else (W.MONTHS, "month")
    i = int(rng.random() * len(names))
    if kind < 6:
        step, word = (1, "{after|~following}") if rng.random() < 0.5 else (-1, "before")
        other = names[(i + step) % len(names)]
        ask = "{What|Which} <u> {comes|is|~do we have} " + word + " <n>?|What comes " + word + " <n>?|{Tell me|Name|Give me|Say} the <u> " + word + " <n>.|What is the <u> " + word + " <n>?|{The <u> |}" + word + " <n>?|I want to know {what|which} <u> comes " + word + " <n>.|"
        ask += "{What|Which} <u> {follows|is next after|comes next after|comes right after} <n>?|If today is <n>, what is tomorrow?" if step == 1 and unit == "day" else \
               "{What|Which} <u> {follows|is next after|comes next after|comes right after} <n>?" if step == 1 else \
               "If today is <n>, what was yesterday?|{What|Which} <u> comes right before <n>?" if unit == "day" else "{What|Which} <u> comes right before <n>?"
        ask += "|~Do you know {what|which} <u> {comes|is} " + word.replace("|~following", "") + " <n>?"
        q = fill(expand(rng, "{" + ask + "}", held), u=unit, n=names[i])
        return q, f"{other} comes {'after' if step == 1 else 'before'} {names[i]}.", {"all": [other]}
    if kind == 6:
        ask = "{{What|Which} is the <o> {day of the week|month of the year}?|{What|Which} {day of the week|month of the year} is <o>?|{Tell me|Name|Say} the <o> {day of the week|month of the year}.|~Do you know the <o> {day of the week|month of the year}?}"
        ask = ask.replace("{day of the week|month of the year}", "day of the week" if unit == "day" else "{month of the year|month}")
        return fill(expand(rng, ask, held), o=W.ORDINALS[i]), f"The {W.ORDINALS[i]} {unit} is {names[i]}.", {"all": [names[i]]}
    if kind == 7:
        ask = "{How many days {are|are there} in <m>?|How many days does <m> have?|How long is <m>?|{Tell me|Say} how many days <m> has.|~How many days has <m>?|~<m> has how many days?}"
        n = W.MONTH_DAYS[i % 12]
        month = W.MONTHS[i % 12]
        return fill(expand(rng, ask, held), m=month), f"{month} has {n} days.", {"all": [f"{n} days"]}
    if kind == 8:
        ask = "{List|Name|Tell me|Say|Write|What are|Give me|~Show me} {|all }the {days of the week|months of the year}{.||?}"
        ask = ask.replace("{days of the week|months of the year}", "days of the week" if unit == "day" else "{months of the year|months}")
        return expand(rng, ask, held), ", ".join(names) + ".", {"all": [", ".join(names)]}
    q, ans, key = pick(rng, [
        ("{How many {days|days are there} {are in|are there in|has|in} a week?|How many days does a week have?|~A week has how many days?}", "A week has 7 days.", "7"),
        ("{How many {months|months are there} {are in|are there in|has|in} a year?|How many months does a year have?|~A year has how many months?}", "A year has 12 months.", "12"),
        ("{How many days {are in|are there in|has|in} a year?|How many days does a year have?|~A year has how many days?}", "A year has 365 days.", "365"),
        ("{How many hours {are in|are there in|has|in} a day?|How many hours does a day have?|~A day has how many hours?}", "A day has 24 hours.", "24")])
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
    ask = "{What is <x> {+|plus|and} <y>?|What's <x> {+|plus} <y>?|<x> {+|plus} <y>{?| = ?| =||.}|<x>+<y>{?|=|=?|}|{How much|What} is <x> {+|plus|and} <y>?|{Calculate|Compute|Add} <x> {+|plus|and} <y>.|Add <x> {to|and} <y>.|{What is|Tell me|Give me} the sum of <x> and <y>{?|.}|What do <x> and <y> make{|together}?|If I have <x> {apples|coins} and get <y> more, how many do I have?|How much do I get if I add <x> and <y>?|Can you add <x> and <y>?|What do you get if you add <y> to <x>?|~How many are <x> and <y>{| together}?|~What does <x> {+|plus} <y> {make|give}?|~What is the result of <x> {+|plus} <y>?}"
    return fill(expand(rng, ask, held), **in_words(rng, x, y)), f"{x} + {y} = {x + y}.", sum_key({"number": x + y}, x, y)


def subtraction(rng, held):
    x, y = operands(rng)
    below = rng.random() < 0.07
    if (y > x) != below:
        x, y = y, x
    ask = "{What is <x> {-|minus} <y>?|What's <x> {-|minus} <y>?|<x> {-|minus} <y>{?| = ?| =||.}|<x>-<y>{?|=|=?|}|{How much|What} is <x> {-|minus} <y>?|{Calculate|Compute} <x> {-|minus} <y>.|{Subtract|Take} <y> from <x>.|What is <x> take away <y>?|{What is|Tell me|Give me} the difference {of|between} <x> and <y>{?|.}|If I have <x> {apples|coins} and give away <y>, how many {do I have|are left}?|How much is left if I take <y> from <x>?|Can you subtract <y> from <x>?|What do you get if you subtract <y> from <x>?|~How many are left if I take <y> from <x>?|~What does <x> {-|minus} <y> {make|give}?|~What is the result of <x> {-|minus} <y>?}"
    return fill(expand(rng, ask, held), **in_words(rng, x, y)), f"{x} - {y} = {x - y}.", sum_key({"all": [f"= {x - y}."]}, x, y)


def number_list(rng, n):
    top = 10 if rng.random() < 0.25 else 100
    return rng.sample(range(top), n)


def sorting(rng, held):
    if rng.random() < 0.1:
        x, y = number_list(rng, 2)
        more = rng.random() < 0.5
        ask = "{{Which|What} {number |}is <w>{,|:|} <x> or <y>?|Is <x> or <y> <w>?|{Tell me w|W}hich {number |}is <w>: <x> or <y>{?|.}|~What number is the <w> one, <x> or <y>?}"
        best = max(x, y) if more else min(x, y)
        return fill(expand(rng, ask, held), w=pick(rng, ("bigger", "larger", "greater") if more else ("smaller", "less")), x=x, y=y), \
            f"{best}", {"number": best}
    n = 2 + int(rng.random() ** 0.8 * 4)
    items = number_list(rng, n)
    text = pick(rng, (", ", ", ", ", ", " ")).join(map(str, items))
    if rng.random() < 0.3:
        biggest = rng.random() < 0.5
        word = "{biggest|largest|~greatest}" if biggest else "{smallest|~least}"
        ask = f"{{{{What|Which}} is the {word} {{number|of these}}: <l>?|{{Find|Name|Tell me|Give me|What is}} the {word} {{number|of these numbers}}: <l>|Which number is the {word}: <l>?|Which {{number |}}is {{bigger|larger}}: <l>?}}" if biggest and n == 2 else \
              f"{{{{What|Which}} is the {word} {{number|of these}}: <l>?|{{Find|Name|Tell me|Give me|What is}} the {word} {{number|of these numbers}}: <l>|Which number is the {word}: <l>?}}"
        best = max(items) if biggest else min(items)
        return fill(expand(rng, ask, held), l=text), f"{best}", {"number": best}
    down = rng.random() < 0.25
    ask = "{Sort <l>|{Sort|Order|Put in order|Arrange} {these numbers|the numbers|this list|the list|these}: <l>|Put {these numbers|the numbers|these} in order: <l>|{Can you|Please} {sort|order} {these|these numbers|the numbers}: <l>|{Sort|Order} <l>{| please}|{Sort|Order} from small to large: <l>|{Sort|Order} {these|these numbers} from smallest to largest: <l>|~Can you put {these|these numbers} in order: <l>|~Give me {these numbers|the list} in order: <l>}"
    if down:
        ask = "{{Sort|Order|Arrange} {these numbers |the numbers |this list |these |}from {large to small|largest to smallest|biggest to smallest|high to low}: <l>|Sort {down|backwards}: <l>|{Sort|Order} <l> from {large to small|largest to smallest|high to low}|~Put {these numbers|these} in order from {large to small|largest to smallest}: <l>}"
    result = sorted(items, reverse=down)
    return fill(expand(rng, ask, held), l=text), ", ".join(map(str, result)) + ".", {"list": result, "key": ",".join(map(str, sorted(items)))}


def counting(rng, held):
    kind = rng.random()
    if kind < 0.45:
        start = 1 if rng.random() < 0.4 else int(rng.random() * 20)
        end = start + 2 + int(rng.random() * 9)
        seq = list(range(start, end + 1))
        if rng.random() < 0.25:
            seq.reverse()
            ask = "{Count {down|backwards|down for me} from <x> to <y>|Count from <x> down to <y>|Count from <x> to <y>|~Please count {down|backwards}, from <x> to <y>}{.||!}"
        elif start == 1 and rng.random() < 0.6:
            ask = "{{Count|Count up|Please count|Can you count|Count for me} to <y>|{Count|Say the numbers|List the numbers} from one to <y>|~I want you to count to <y>}{.||!|?}"
            if rng.random() < 0.3 and end <= 12:
                ask = ask.replace("<y>", W.SMALL_NUMBERS[end])
        else:
            ask = "{{Count|Count up|Please count|Can you count|Say the numbers|List the numbers|Write the numbers|Count for me} from <x> to <y>|Count <x> to <y>|~I want you to count from <x> to <y>|~Give me the numbers from <x> to <y>}{.||!}"
        return fill(expand(rng, ask, held), x=seq[0], y=seq[-1]), ", ".join(map(str, seq)) + ".", {"list": seq}
    if kind < 0.6:
        n = int(rng.random() * 100)
        if rng.random() < 0.5:
            ask = "{{What|Which} number {comes|is} after <n>?|What comes after <n>?|{Tell me|Name|Say} the number after <n>.|What is the next number after <n>?|~Which number follows <n>?}"
            return fill(expand(rng, ask, held), n=n), f"{n + 1} comes after {n}.", {"all": [f"{n + 1} comes"]}
        n += 1
        ask = "{{What|Which} number {comes|is} before <n>?|What comes before <n>?|{Tell me|Name|Say} the number before <n>.|~Which number comes right before <n>?}"
        return fill(expand(rng, ask, held), n=n), f"{n - 1} comes before {n}.", {"all": [f"{n - 1} comes"]}
    n = 1 + int(rng.random() * 7)
    items = rng.sample(W.LIST_WORDS, n) if rng.random() < 0.8 else [str(v) for v in rng.sample(range(100), n)]
    ask = "{How many {words|things|items} are {in this list|in the list|here|there}: <l>?|Count {these|the words|the items|these words|these things|this list|the things}: <l>|How many {words|things|items} {do you see|do I have|are these}: <l>?|How many are {there|these|in this list}: <l>?|How long is {this|the} list: <l>?|~{Tell me how many|Say how many} {words|things|items} are in this list: <l>|~Count the {words|things|items} in {this|the} list: <l>}"
    text = ", ".join(items) if rng.random() < 0.8 else " ".join(items)
    # the answer counts aloud: a transformer finds "the next item, the next number" far easier than a sum at sight
    aloud = ", ".join(f"{i + 1} {w}" for i, w in enumerate(items)) if not items[0][0].isdigit() else None
    return fill(expand(rng, ask, held), l=text), (f"{aloud}. That is {n}." if aloud else f"That is {n}."), {"number": n}


# ---------------------------------------------------------------- copying
def echo(rng, held):
    kind = rng.random()
    if kind < 0.55:
        n = 1 + int(rng.random() * 5)
        pool = rng.random()
        items = [any_name(rng) for _ in range(n)] if pool < 0.3 else rng.sample(W.LIST_WORDS, n) if pool < 0.7 else \
            [str(int(rng.random() * 100)) for _ in range(n)] if pool < 0.85 else [invented(rng).lower() for _ in range(n)]
        text = pick(rng, (" ", ", ")).join(items)
        ask = "{{Repeat|Say|Echo|Write|Copy|Print}: <t>|{Repeat|Say} after me: <t>|{Repeat|Say|Copy|Write} {this|these words|the words}: <t>|Please {repeat|say}: <t>|{Say|Repeat|Write} {the word <t>|<t>}|~Can you repeat {this|these words}: <t>}"
        # " spoon" and "spoon" are different tokens: after a colon the copy is of the token itself, the easiest drill there is
        return fill(expand(rng, ask, held), t=text), f"I repeat: {text}", {"all": [text]}
    if kind < 0.7:
        name = any_name(rng)
        word = pick(rng, ("hello", "goodbye", "good night", "thank you", "good morning"))
        return fill(expand(rng, "{{Say|Please say|Can you say} <w> to <n>|~Tell <n> <w>}{.||!}", held), w=word, n=name), f"{cap(word)}, {name}!", {"all": [name]}
    items = rng.sample(W.LIST_WORDS, 2 + int(rng.random() * 4)) if rng.random() < 0.6 else [any_name(rng) for _ in range(3)]
    where = pick(rng, ("first", "last", "second"))
    value = {"first": items[0], "last": items[-1], "second": items[1]}[where]
    ask = "{What is the <o> {word|name|item}{ in this list|}: <l>?|{Tell me|Say|Give me|Name} the <o> {word|name|one|item}: <l>|Which {word|name|item} is <o>: <l>?|~Which one is <o>: <l>?}"
    return fill(expand(rng, ask, held), o=where, l=", ".join(items)), f"The {where} is {value}.", {"all": [f" {value}."]}


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
        flag = pick(rng, guide.FAKE_FLAGS)
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
    ask = "{What is the meaning of {life|this}?|{Tell me|What do you know|Explain|Can you tell me} {something |}about " + topic + "{.|?|}|{What is|What's} {the weather|the time|the date|the news|the price of gold|love|happiness|gravity|water made of|the biggest city|the highest mountain|the longest river|the speed of light|the square root of 2|pi|a black hole|DNA|the internet}{?| today?}|Who {won|will win} the {match|game|election|cup}?|Who {is|was} {the president|Einstein|Napoleon|Newton|Mozart|Shakespeare|the first man on the moon|the pope|<n>}?|When {was|did} {the war|the war end|<n> born|Rome built}?|Where {is|does} {my phone|<n>|<n> live|the station|God}?|{Translate|Spell} {<n>|hello|this|water|thank you}{.| into French.| into German.}|{Write|Can you write|Make} {a poem|code|a song|a program|an email|a letter|a Python program}{.|?| for me.| about love.}|Why is the sky {blue|dark}?|Why do {birds sing|we sleep|people cry|cats purr}?|How old {is|are} {<n>|the earth|the sun|you|trees}?|How far is {the moon|the sun|<n>}?|How do I {cook rice|bake bread|fix my car|lose weight|get rich|learn to drive|make tea}?|What should I {eat|do|read|wear|buy}{| today| tonight}?|How many people live in {Paris|London|China|<n>}?|How {tall|heavy|old|rich} is <n>?|What {happened in|do you know about} <y>?|What is <n>?|What does <n> mean?|~Can you explain " + topic + " to me?|~Who is the king of {Spain|England|<n>}?|~What time is it?|~Is there life {on Mars|after death}?}"
    if kind > 13:                                   # nonsense in many shapes: any question that is not on a list
        ask = "{How {do|can} {I|you|we} {find|fix|paint|make|cook|clean|draw|build|wash|carry|grow|open|break|win|lift} {a|the|my} <w>?|Why {is|was} {a|the|my} <w> {so |}{big|small|<c>|old|expensive|important|good|dangerous}?|What is {a|the} <w>{| made of| for}?|{Who|Where|When} {is|was} {the|my} <w>?|{Who|Where|When|Why|How} {is|was} <n>?|Who {invented|made|built|discovered|wrote|painted} the <w>?|How many <w>s {are there|do I need|can I eat|fit in a <v>}?|What is the {difference|distance} between a <w> and a <v>?|{What|Which} <w> is {the |}{best|biggest|oldest|right one|good for me}?|{Can|Could|Will|Should|Did|Does} {a <w>|<n>|my <w>} {fly|swim|talk|win|help me|come back|live here|eat a <v>}?|Is {a <w>|<n>|my <w>} {good|bad|<c>|old|a <v>|bigger than a <v>}?|{What|How} do you think {of|about} {<n>|my <w>|the <w>}?|{Give|Show|Find|Buy|Bring} me {a|the} {<c> |}<w>{.|}|Do you like {<w>s|<n>|my <w>}?|{What|Who} do you {like|want|see|hear}?|{I|We} {have|saw|lost|bought|need|like} {a|the} {<c> |}<w>.|My <w> is {<c>|old|broken|ill}.|<n> is {my friend|a friend|here|ill|a <w>}.|The <w> is {on|under|behind} the <v>.|~Have you {seen|got} a <w>?|~What happens to {a|the} <w>?|~Whose <w> is {this|it}?}"
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
WEIGHTS = {"talk": 5, "identity": 5, "guide": 11, "capitals": 5, "opposites": 7, "plurals": 4, "colours": 3, "sounds": 2,
           "calendar": 6, "addition": 15, "subtraction": 18, "sorting": 14, "counting": 9, "echo": 7, "unknown": 10,
           "story": 5}
_NAMES, _CUM = list(WEIGHTS), []
for _name in _NAMES:
    _CUM.append(WEIGHTS[_name] + (_CUM[-1] if _CUM else 0))


def turn(rng, ability=None, held=False, split=None):
    """One question and its answer. Training (split None) skips what hashes into the evaluation bucket."""
    ability = ability or rng.choices(_NAMES, cum_weights=_CUM)[0]
    while True:
        question, answer, expect = ABILITIES[ability](rng, held)
        asked = decorate(rng, question, ability not in ("talk", "echo", "story", "unknown"))
        if ability in ("talk", "identity"):
            # "Hey" is a whole wording: holding it out would only teach the model not to know it. Here the hold-out is of
            # wordings with one of the prefixes.
            kept = len(asked) > len(question) and bucket(asked) == 0
        else:
            kept = bucket(expect.pop("key", question)) == 0
        if split == "wording" or kept == (split == "combination"):
            return asked, answer, expect


PREFIX = ["Please tell me: ", "Hello! ", "Hi, ", "OK. ", "So, ", "I have a question. ", "Quick question: ", "Now: ",
          "Another question: ", "And ", "Hey, ", "Good. ", "Thanks. ", "Next: "]


def decorate(rng, question, may_lower=False):
    """People greet, forget capitals (may_lower: those of names too) and leave out the question mark."""
    question = question.strip()
    r = rng.random()
    if r < 0.12:
        question = pick(rng, PREFIX) + (question if rng.random() < 0.5 else question[:1].lower() + question[1:])
    elif r < 0.15:
        question = question.rstrip(".?!") + pick(rng, (", please.", " please", " thanks"))
    r = rng.random()
    if r < 0.12 and may_lower and "SIGNUM" not in question:
        question = question.lower()
    elif r < 0.3:
        question = question[:1].lower() + question[1:]
    if rng.random() < 0.25 and question[-1] in "?.!":
        question = question[:-1]
    return question


# ---------------------------------------------------------------- memory: a statement, other turns, then the question
def memory_item(rng, held=False):
    """-> kind, statement, reply, question, answer, value"""
    kind = pick(rng, ("name", "name", "name", "number", "number", "colour", "pet"))
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
    if rng.random() < 0.02:
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
