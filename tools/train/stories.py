"""Short stories from a plot grammar. One hero, one helper, one thing; none of them changes on the way."""
import words as W
from grammar import a, cap, expand, fill

ANIMALS = """fox bear rabbit mouse cat dog frog owl duck wolf hedgehog squirrel deer turtle lion elephant horse pig
sheep goose beaver badger cow goat penguin monkey tiger crow snail bee donkey hen dragon""".split()
PEOPLE = {"girl": "she", "boy": "he", "king": "he", "queen": "she", "farmer": "he", "baker": "he", "sailor": "he",
          "knight": "he", "wizard": "he", "witch": "she", "princess": "she", "prince": "he", "teacher": "she",
          "doctor": "she", "gardener": "he", "painter": "she", "miller": "he", "fisherman": "he",
          "grandmother": "she", "grandfather": "he", "shepherd": "he", "nurse": "she", "pilot": "she", "cook": "he"}
THINGS = """robot clock car cloud tree boat train teapot star snowman toy kite lamp stone leaf pumpkin computer
book ship candle""".split()
PLACES = {"forest": "in the forest", "village": "in a village", "farm": "on a farm", "beach": "at the beach",
          "castle": "in a castle", "mountain": "on a mountain", "garden": "in a garden", "city": "in the city",
          "river": "by the river", "lake": "by the lake", "island": "on an island", "cave": "in a cave",
          "school": "in a school", "market": "at the market", "desert": "in the desert", "valley": "in a valley",
          "sea": "by the sea", "jungle": "in the jungle", "kitchen": "in a kitchen", "park": "in the park",
          "hill": "on a hill", "meadow": "in a meadow", "tower": "in a tower", "house": "in a little house",
          "town": "in a small town", "barn": "in a barn", "library": "in a library", "moon": "on the moon"}
POSSESSIVE = {"he": "his", "she": "her", "it": "its"}
OBJECTIVE = {"he": "him", "she": "her", "it": "it"}

OPENING = ("{Once upon a time|One day|Long ago|Once}, there was <hero> named <name>{ who lived <place>. |. <He> "
           "lived <place>. }")
MOOD = "{<name> was {kind|brave|clever|curious|happy|gentle}. |Every day <name> {went for a walk|worked hard|sang a song}. |}"
MEET = ("{There|On the way|Soon} <name> met <friend> named <pal>. ")
ENDING = ("{<name> and <pal> became {good|best} friends. |From that day on, <name> and <pal> were {good|best} friends. "
          "|<name> thanked <pal> and went home. }{<name> was {very |}happy.|That night <name> slept well.|"
          "It was a {good|lovely|wonderful} day.|And they lived happily ever after.}")
PLOTS = [
    "{One morning|Today|That day} <name> lost <his> <thing>. <He> looked {everywhere|under the bed|behind the door}, "
    "but could not find it. <name> was {sad|very sad}. " + MEET +
    "\"I lost my <thing>,\" said <name>. \"I will help you,\" said <pal>. They looked together, and <pal> found the "
    "<thing> {under a tree|behind a big stone|in the grass|near the water}. ",

    "{One day|That morning} <name> found {a|an old} <thing> {under a tree|in the grass|near the water|on the road}. "
    + MEET + "<pal> was {sad|crying}. \"I lost my <thing>,\" said <pal>. <name> gave the <thing> {back to <pal>|to "
    "<pal>}. \"Thank you,\" said <pal>. ",

    "{One day|One morning} <name> had {some|a lot of} <food>. " + MEET + "<pal> was {hungry|very hungry}. \"Do you want "
    "some <food>?\" asked <name>. \"Yes, please,\" said <pal>. So <name> shared the <food> with <pal>, and they ate "
    "{under a tree|in the sun|together}. ",

    "{One night|One evening} there was a {big|great} storm. The {wind|rain} was {loud|strong}, and <name> was afraid. "
    + MEET + "\"Come with me,\" said <pal>. \"My home is {warm|dry|safe}.\" They sat {by the fire|close together} and "
    "waited. In the morning the storm was over. ",

    "<name> wanted to {learn to |}{swim|sing|dance|paint|fly a kite|read|build a boat}, but it was {hard|very hard}. "
    + MEET + "\"{Do not give up|Try again|I can show you},\" said <pal>. <name> tried again and again. {At last|In the "
    "end} <he> could do it. <pal> {clapped|smiled|was proud}. ",

    "{One day|One morning} <name> saw {a|an old} <thing> {on the other side of the water|at the top of a tree|in a deep "
    "hole}. <He> could not reach it. " + MEET + "\"We can do it together,\" said <pal>. <pal> held a rope, and <name> "
    "{climbed|went} {slowly|carefully}. {At last|Soon} <he> had the <thing>. ",
]
FULL = [OPENING + MOOD + plot + ENDING for plot in PLOTS]


def pick(rng, items):
    return items[int(rng.random() * len(items))]


def any_name(rng):
    if rng.random() < 0.25:
        return invented(rng)
    return pick(rng, pick(rng, (W.GIRLS, W.BOYS)))


def invented(rng):
    return cap("".join(pick(rng, W.SYLLABLES) for _ in range(2 if rng.random() < 0.7 else 3)))


def being(rng):
    """-> (noun, pronoun)"""
    r = rng.random()
    if r < 0.45:
        return pick(rng, ANIMALS), pick(rng, ("he", "she"))
    if r < 0.85:
        return pick(rng, list(PEOPLE.items()))
    return pick(rng, THINGS), "it"


def being_name(rng, pronoun):
    if rng.random() < 0.15:
        return invented(rng)
    return pick(rng, W.GIRLS if pronoun == "she" else W.BOYS if pronoun == "he" else W.GIRLS + W.BOYS)


def story(rng, hero=None, pronoun=None, name=None, place=None, friend=None):
    if hero is None:
        hero, pronoun = being(rng)
    name = name or being_name(rng, pronoun)
    friend, friend_pronoun = friend or being(rng)
    while friend == hero:
        friend, friend_pronoun = being(rng)
    pal = being_name(rng, friend_pronoun)
    while pal == name:
        pal = being_name(rng, friend_pronoun)
    adjective = pick(rng, ("", "", "little ", "young ", "old ", "small "))
    text = expand(rng, pick(rng, FULL))
    return fill(text, hero=a(adjective + hero), name=name, place=place or pick(rng, list(PLACES.values())),
                friend=a(friend), pal=pal, he=pronoun, He=cap(pronoun), his=POSSESSIVE[pronoun],
                him=OBJECTIVE[pronoun], thing=pick(rng, W.COLOUR_NAMES) + " " + pick(rng, W.OBJECTS),
                food=pick(rng, W.FOODS)).replace("a orange", "an orange")


ASK = ("{Tell me|Write|Can you tell me|I want|Please tell me|Could you write|~Make up|~I would like to hear} {a|a short|"
       "a little|another|~a nice} {story|tale} about ")


def request(rng, held=False):
    """-> (question, answer, expectation)"""
    hero, pronoun = being(rng)
    place = name = None
    what = a(hero)
    r = rng.random()
    if r < 0.1:
        return ("{Tell me|Write|Can you tell me|I want|Please tell me|~I would like} {a|a short|another} {story|tale}{.|"
                "| please.}", story(rng), None)
    friend = None
    if r < 0.15:                                    # "about Lily": a girl
        hero, pronoun = pick(rng, (("girl", "she"), ("boy", "he")))
        what = name = pick(rng, W.GIRLS if hero == "girl" else W.BOYS)
    elif r < 0.3:
        friend = being(rng)
        while friend[0] == hero:
            friend = being(rng)
        what += " and " + a(friend[0])
    elif r < 0.5:
        name = being_name(rng, pronoun)
        what += " {named|called|~with the name} " + name
    if r > 0.4:
        place_noun = pick(rng, list(PLACES))
        place = PLACES[place_noun]
        what += " " + pick(rng, (place, place, place.replace(" a ", " the ").replace(" an ", " the ")))
    need = [hero] + ([name] if name else []) + ([place_noun] if place else []) + ([friend[0]] if friend else [])
    return ASK + what + "{.||, please.|!}", story(rng, hero, pronoun, name, place, friend), need
