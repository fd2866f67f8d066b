"""Short stories from a plot grammar. One hero, one helper, one thing; none of them changes on the way."""
import words as W
from grammar import a, cap, expand, fill

ANIMALS = """fox bear rabbit mouse cat dog frog owl duck wolf hedgehog squirrel deer turtle lion elephant horse pig
sheep goose beaver badger cow goat penguin monkey tiger crow snail bee donkey hen dragon unicorn kitten puppy spider
butterfly whale shark parrot camel kangaroo panda eagle swan rat seal zebra giraffe snake lizard dinosaur ghost monster giant elf
dwarf alien pony lamb dolphin crab bat robin moose raven otter""".split()
PEOPLE = {"girl": "she", "boy": "he", "king": "he", "queen": "she", "farmer": "he", "baker": "he", "sailor": "he",
          "knight": "he", "wizard": "he", "witch": "she", "princess": "she", "prince": "he", "teacher": "she",
          "doctor": "she", "gardener": "he", "painter": "she", "miller": "he", "fisherman": "he",
          "grandmother": "she", "grandfather": "he", "shepherd": "he", "nurse": "she", "pilot": "she", "cook": "he",
          "pirate": "he", "fairy": "she", "mermaid": "she", "hunter": "he", "tailor": "he", "soldier": "he",
          "mother": "she", "father": "he", "sister": "she", "brother": "he", "singer": "she", "student": "she",
          "woman": "she", "man": "he", "thief": "he", "dancer": "she", "clown": "he", "captain": "he"}
THINGS = """robot clock car cloud tree boat train teapot star snowman toy kite lamp stone leaf pumpkin computer
book ship candle spoon shoe cup bell bicycle rocket hat chair
pencil ball apple potato pumpkin carrot flower balloon""".split()
PLACES = {"forest": "in the forest", "village": "in a village", "farm": "on a farm", "beach": "at the beach",
          "castle": "in a castle", "mountain": "on a mountain", "garden": "in a garden", "city": "in the city",
          "river": "by the river", "lake": "by the lake", "island": "on an island", "cave": "in a cave",
          "school": "in a school", "market": "at the market", "desert": "in the desert", "valley": "in a valley",
          "sea": "by the sea", "jungle": "in the jungle", "kitchen": "in a kitchen", "park": "in the park",
          "hill": "on a hill", "meadow": "in a meadow", "tower": "in a tower", "house": "in a little house",
          "town": "in a small town", "barn": "in a barn", "library": "in a library", "moon": "on the moon",
          "zoo": "at the zoo", "space": "in space", "ship": "on a ship", "bridge": "under a bridge",
          "palace": "in a palace", "mill": "in a mill", "street": "in a quiet street", "swamp": "in a swamp",
          "bakery": "in a bakery", "hotel": "in an old hotel", "field": "in a field", "shop": "in a shop",
          "tent": "in a tent", "harbour": "at the harbour", "north": "in the far north", "well": "near an old well"}
POSSESSIVE = {"he": "his", "she": "her", "it": "its"}
OBJECTIVE = {"he": "him", "she": "her", "it": "it"}

# "He" or "she" comes in the second sentence and in almost every one after it: what was said last is easy to say again, and a story
# with two pronouns in all taught too little about them.
OPENING = ("{Once upon a time|One day|Long ago|Once}, there was <hero> named <name>{. <He> lived <place>. | who lived <place>. <He> "
           "{was {kind|brave|clever|curious|happy|gentle}|worked hard|liked to {sing|walk|play}}. }")
MOOD = "{<He> was {kind|brave|clever|curious|happy|gentle}. |Every day <he> {went for a walk|worked hard|sang a song}. |}"
MEET = "{There|On the way|Soon} {<name>|<he>} met <friend> named <pal>. "
ENDING = ("{<name> and <pal> became {good|best} friends. |From that day on, <name> and <pal> were {good|best} friends. "
          "|<name> said goodbye to <pal> and {|<he> }went home. }{<name> was {very |}happy.|"
          "That night <name> slept well in <his> bed.|It was a {good|lovely|wonderful} day.|And they lived happily ever after.}")
PLOTS = [
    "{One morning|Today|That day} <name> lost <his> <thing>. <He> looked {everywhere|under the bed|behind the door}, "
    "but <he> could not find it. <He> was {sad|very sad}. " + MEET +
    "\"I lost my <thing>,\" said <name>. \"I will help you,\" said <pal>. They looked together, and <pal> found the "
    "<thing> {under a tree|behind a big stone|in the grass|near the water}. <name> {thanked <pal>|smiled} and took <his> <thing>. ",

    "{One day|That morning} <name> found {a|an old} <thing> {under a tree|in the grass|near the water|on the road}. <He> "
    "{picked it up|put it in <his> bag|took it}. " + MEET + "<pal> was {sad|crying}. \"I lost my <thing>,\" said <pal>. <name> "
    "gave the <thing> {back to <pal>|to <pal>}, and <he> {smiled|was glad}. \"Thank you,\" said <pal>. ",

    "{One day|One morning} <name> had {some|a lot of} <food>. <He> {sat down to eat|wanted to eat}. " + MEET + "<pal> was "
    "{hungry|very hungry}. \"Do you want some <food>?\" asked <name>. \"Yes, please,\" said <pal>. So <name> shared <his> <food> with "
    "<pal>, and they ate {under a tree|in the sun|together}. ",

    "{One night|One evening} there was a {big|great} storm. The {wind|rain} was {loud|strong}, and <name> was afraid. <He> "
    "{ran as fast as <he> could|could not find <his> way}. " + MEET + "\"Come with me,\" said <pal>. \"My home is {warm|dry|safe}.\" "
    "They sat {by the fire|close together} and waited. <name> was not afraid now. In the morning the storm was over, and <he> {sang|laughed}. ",

    "<name> wanted to {learn to |}{swim|sing|dance|paint|fly a kite|read|build a boat}, but it was {hard|very hard}. <He> "
    "{was sad|wanted to stop|tried, but <he> could not do it}. " + MEET + "\"{Do not give up|Try again|I can show you},\" said <pal>. "
    "So <name> tried again, and <he> {did <his> best|did not give up}. {At last|In the end} <he> could do it. <pal> {clapped|smiled|was proud}. ",

    "{One day|One morning} <name> saw {a|an old} <thing> {on the other side of the water|at the top of a tree|in a deep "
    "hole}. <He> could not reach it. " + MEET + "\"We can do it together,\" said <pal>. <pal> held a rope, and <name> "
    "{climbed|went} {slowly|carefully}, {as <he> was careful|for <he> was afraid|and <he> did not fall}. {At last|Soon} <he> had the <thing>"
    "{| in <his> bag}. ",
]
FULL = [OPENING + MOOD + plot + ENDING for plot in PLOTS]


def pick(rng, items):
    return items[int(rng.random() * len(items))]


def any_name(rng):
    r = rng.random()
    return invented(rng) if r < 0.28 else pick(rng, W.RARE_NAMES) if r < 0.55 else pick(rng, W.GIRLS if r < 0.775 else W.BOYS)


def invented(rng):
    """A name that nobody has, of syllables or (some of them) letter by letter."""
    if rng.random() < 0.7:
        return cap("".join(pick(rng, W.SYLLABLES) for _ in range(2 if rng.random() < 0.7 else 3)))
    word, vowel = "", rng.random() < 0.3
    for _ in range(3 + int(rng.random() * 5)):
        word += pick(rng, "aeiouy" if vowel else ("b c d f g h j k l m n p r s t v w z br ch dr fl gr kl kr pl sh st th tr x qu".split()))
        vowel = not vowel or rng.random() < 0.08
    return cap(word[:9])


def being(rng):
    """-> (noun, pronoun)"""
    r = rng.random()
    if r < 0.45:
        return pick(rng, ANIMALS), pick(rng, ("he", "she"))
    if r < 0.85:
        return pick(rng, list(PEOPLE.items()))
    return pick(rng, THINGS), "it"


def being_name(rng, pronoun):
    if rng.random() < 0.2:
        return invented(rng)
    return pick(rng, W.GIRLS if pronoun == "she" else W.BOYS if pronoun == "he" else W.GIRLS + W.BOYS)


def pal_name(rng, pronoun, but):
    names = [n for n in W.PALS if n != but and (pronoun == "it" or (n in W.GIRLS) == (pronoun == "she"))]
    return pick(rng, names)


def story(rng, hero=None, pronoun=None, name=None, place=None, friend=None):
    if hero is None:
        hero, pronoun = being(rng)
    if not name:                                    # few names, well known as a girl's or a boy's
        name = pick(rng, W.HERO_GIRLS if pronoun == "she" else W.HERO_BOYS if pronoun == "he" else W.HERO_GIRLS + W.HERO_BOYS)
    friend, friend_pronoun = friend or being(rng)
    while friend == hero:
        friend, friend_pronoun = being(rng)
    pal = pal_name(rng, friend_pronoun, name)
    adjective = pick(rng, ("", "", "little ", "young ", "old ", "small "))
    if hero in ("girl", "boy", "kitten", "puppy", "lamb", "prince", "princess") and adjective == "old " or hero.startswith("grand"):
        adjective = ""
    text = expand(rng, pick(rng, FULL))
    return fill(text, hero=a(adjective + hero), name=name, place=place or pick(rng, list(PLACES.values())),
                friend=a(friend), pal=pal, he=pronoun, He=cap(pronoun), his=POSSESSIVE[pronoun],
                him=OBJECTIVE[pronoun], thing=pick(rng, W.COLOUR_NAMES) + " " + pick(rng, W.OBJECTS),
                food=pick(rng, W.FOODS)).replace("a orange", "an orange")


ASK = ("{{Tell me|Write|Can you tell me|I want|Please tell me|Could you write|Tell|Tell us|Write me|Give me|I'd like|I need|Can you write|"
       "Please write|Could you tell me|Let me hear|Invent|Create|I want to hear|Will you tell me|Do you know|Can I have|Would you tell me|"
       "Now tell me|~Make up|~I would like to hear} {a|a|a|a short|a little|another|one|a funny|a new|a long|a good|some|~a nice} {story|tale}|"
       "{A |A short |Another |}{story|tale}{|, please,}} ")


def request(rng, held=False):
    """-> (question, answer, expectation)"""
    hero, pronoun = being(rng)
    r = rng.random()
    if r < 0.09:
        return (ASK.rstrip() + "{.|| please.|!}", story(rng), None)
    name = place = friend = None
    what = a(hero)
    if r < 0.20:                                    # "about Lily": a girl
        hero, pronoun = pick(rng, (("girl", "she"), ("boy", "he")))
        what = name = pick(rng, W.GIRLS if hero == "girl" else W.BOYS)
    elif r < 0.42:
        friend = being(rng)
        while friend[0] == hero:
            friend = being(rng)
        what += " {and|and|who meets} " + a(friend[0])
    elif r < 0.77:
        name = being_name(rng, pronoun) if rng.random() < 0.7 else any_name(rng)
        what += " {named|called|named|called|whose name is|~with the name} " + name
    if rng.random() < 0.4:
        place_noun = pick(rng, list(PLACES))
        place = PLACES[place_noun]
        what += " " + pick(rng, (place, place, place.replace(" a ", " the ").replace(" an ", " the ")))
    need = [hero] + ([name] if name else []) + ([place_noun] if place else []) + ([friend[0]] if friend else [])
    return ASK + "{about|about|about|of|with} " + what + "{.||, please.|!| please|?}", story(rng, hero, pronoun, name, place, friend), need
