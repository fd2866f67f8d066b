"""The wordings of what has an answer to look up or to compute: facts, calendar, numbers, lists (see grammar.py for the notation)."""
from wordings import RESULT, RESULT_NEW, frames

# ---------------------------------------------------------------- facts
CAPITAL = frames("capitals", "What is the capital city of <x>?", "{Which|What} city is the capital of <x>?", "What is <x>'s capital?", "<x>'s capital?",
                 "<x>'s capital, please.", "What capital does <x> have?", "What do you call the capital of <x>?", "What is the main city of <x>?",
                 "{Which|What} is the {main|capital} city of <x>?", "{Tell me|Name|What's} <x>'s capital{?|.}", "{Which|What} city is <x>'s capital city?",
                 "~Which city is <x>'s capital?", "~Do you know <x>'s capital?", A="capital")
COUNTRY = "{<city> is the capital of {what|which} country?|Which country has the capital <city>?|What country is <city> {in|the capital of}?|Where is <city>?|In {what|which} country is <city>?|{Which|What} country has <city> as {its |}capital?|Where is the city of <city>?|Tell me {where <city> is|the country of <city>|which country <city> is in}.|Do you know where <city> is?|<city> is where?|{Which|What} country does <city> belong to?|{Which|What} is the country of <city>?|Where can I find <city>?|Can you tell me where <city> is?|Name the country of <city>.|Of {what|which} country is <city> the capital?|~<city> is in {what|which} country?|~<city> lies in {what|which} country?}"
OPPOSITE = frames("opposites", "{What|Which} word is the opposite of <x>?", "What is the opposite of the word <x>?", "<x>: what is the opposite?",
                  "Give me a word that is the opposite of <x>.", "What is not <x>?", "If it is not <x>, what is it?", "Not <x> but what?",
                  "What do you call the opposite of <x>?", "{What|Which} word means not <x>?", "~How do you call the opposite of <x>?",
                  "~Which word means the opposite of <x>?", "~For the word <x>, what is the opposite?", A="opposite")
PLURAL = frames("plurals", "What is the plural form of <x>?", "What is the plural of the word <x>?", "{What|Which} word is the plural of <x>?",
                "One <x>, {two|many|three} what?", "{What|How} do you {call|say|write} more than one <x>?", "<x>: what is the plural?",
                "I have one <x>, you have two what?", "{Two|Many} of <x> are called what?", "How do I write many of <x>?", "<x> in the plural?",
                "How do you form the plural of <x>?", "What do you say for two of <x>?", "Make <x> plural.", "~What do you call {two|many} of <x>?",
                "~For the word <x>, what is the plural?", "~Put <x> in the plural.", A="plural")
COLOUR = frames("colours", "What <A> is <x>?", "Which <A> is <x>?", "Which <A> does <x> have?", "What <A> does <x> have?",
                "Can you tell me {what|which} <A> <x> is?", "Tell me {what|which} <A> <x> is.", "<x> is {what|which} <A>?",
                "Do you know {what|which} <A> <x> is?", "{What|Which} <A> would you give <x>?", "In {what|which} <A> do I paint <x>?",
                "{What|Which} <A> should <x> be?", "I want to paint <x>. Which <A>?", "What is the usual <A> of <x>?",
                "{Say|I want to know} {what|which} <A> <x> is.", "What <A> do you see when you look at <x>?", "Of {what|which} <A> is <x>?",
                "~{What|Which} <A> do I need to paint <x>?", "~How would you paint <x>, in {what|which} <A>?", A="{colour|color}")
SOUND = frames("sounds", "What does {<x>|the <b>} say?", "What sound does {<x>|the <b>} make?", "What noise does {<x>|the <b>} make?",
               "Which sound does {<x>|the <b>} make?", "How does {<x>|the <b>} {sound|go}?", "Tell me what sound is made by <x>.",
               "Do you know what {<x>|the <b>} says?", "Tell me what {<x>|the <b>} says.", "What do you hear from <x>?",
               "What sound do you hear from <x>?", "{What|Which} noise comes from <x>?", "{<x>|the <b>} says what?", "{Make|Say} the sound of <x>.",
               "How would {<x>|the <b>} sound?", "What would {<x>|the <b>} say?", "Can you sound like <x>?", "What does {<x>|the <b>} sound like?",
               "~What kind of sound does {<x>|the <b>} make?", "~Which noise do you hear from <x>?", "~What is {<x>|the <b>} saying?",
               A="{sound|noise}")
ANIMAL = "{{What|Which} animal {says|goes} <s>?|{What|Which} animal makes {the sound <s>|<s>}?|Who {says|makes|goes} <s>?|Tell me {which|what} animal says <s>.|I hear <s>. {Which|What} animal is {it|that}?|<s> is {said by|the sound of} {which|what} animal?|What says <s>?|Name the animal that says <s>.|Do you know who says <s>?|~What kind of animal says <s>?|~From {which|what} animal do I hear <s>?}"


# ---------------------------------------------------------------- calendar
def neighbour(step, unit):
    """The day or month before (step -1) or after (1) <n>; <u> is "day" or "month"."""
    word = "{after|~following}" if step == 1 else "before"
    plain = "after" if step == 1 else "before"
    parts = ["{What|Which} <u> {comes|is|~do we have} " + word + " <n>?", "What comes " + word + " <n>?", "{Tell me|Name|Give me|Say} the <u> " + word + " <n>.",
             "What is the <u> " + word + " <n>?", "{The <u> |}" + word + " <n>?", "I want to know {what|which} <u> comes " + word + " <n>.",
             "{Can|Could} you tell me the <u> " + word + " <n>?", "{Which|What} is the <u> " + word + " <n>?", "Do you know what comes " + word + " <n>?",
             "What <u> would be " + word + " <n>?", "<n>: what <u> {comes|is} " + word + " it?", "Please name the <u> " + word + " <n>.",
             "What about the <u> " + word + " <n>?", "~Do you know {what|which} <u> {comes|is} " + plain + " <n>?"]
    if step == 1:
        parts += ["{What|Which} <u> {follows|is next after|comes next after|comes right after} <n>?", "What follows <n>?", "<n>, and then?", "The next <u> after <n>?"]
    else:
        parts += ["{What|Which} <u> comes right before <n>?", "{What|Which} <u> was {|right }before <n>?"]
    if unit == "day":
        parts += ["If today is <n>, what {is|will be} tomorrow?", "Today is <n>. What is tomorrow?"] if step == 1 else \
                 ["If today is <n>, what {was|is} yesterday?", "Today is <n>. What was yesterday?"]
    return "{" + "|".join(parts) + "}"


_ORDINAL = "{{What|Which} is the <o> <U>?|{What|Which} <U> is <o>?|{Tell me|Name|Say|Give me} the <o> <U>.|The <o> <U>{?| is}|What do you call the <o> <U>?|Can you {tell me|name} the <o> <U>?|I want to know the <o> <U>.|{Which|What} <U> comes <o>?|~Do you know the <o> <U>?}"
ORDINAL = {"day": _ORDINAL.replace("<U>", "day of the week"), "month": _ORDINAL.replace("<U>", "{month of the year|month}")}
MONTH_LENGTH = "{How many days {are|are there} in <m>?|How many days does <m> have?|How long is <m>?|{Tell me|Say|Do you know|I want to know} how many days <m> has{.|}|<m> has {how many|what number of} days?|{Days|The number of days} in <m>?|What is the {number of days|length} {in|of} <m>?|Number of days of <m>?|In <m>, how many days are there?|~How many days has <m>?|~Can you say how many days <m> has?}"
_LIST_ALL = "{List|Name|Tell me|Say|Write|What are|Give me|Can you {name|list|say|tell me}|Please {name|list|say}|I want to {know|hear}|Do you know|Which are|~Show me} {|all |}the <U>{.||?}"
LIST_ALL = {"day": _LIST_ALL.replace("<U>", "days of the week"), "month": _LIST_ALL.replace("<U>", "{months of the year|months}")}
HOW_LONG = [
    ("{How many {days|days are there} {are in|are there in|has|in} a week?|How many days does a week have?|{Days|The days|Number of days} in a week?|What is the number of days in a week?|How long is a week?|Tell me how many days a week has.|In a week, how many days are there?|~A week has how many days?}", "A week has 7 days.", "7"),
    ("{How many {months|months are there} {are in|are there in|has|in} a year?|How many months does a year have?|{Months|Number of months} in a year?|What is the number of months in a year?|Tell me how many months a year has.|In a year, how many months are there?|~A year has how many months?}", "A year has 12 months.", "12"),
    ("{How many days {are in|are there in|has|in} a year?|How many days does a year have?|{Days|Number of days} in a year?|What is the number of days in a year?|How long is a year?|Tell me how many days a year has.|In a year, how many days are there?|~A year has how many days?}", "A year has 365 days.", "365"),
    ("{How many hours {are in|are there in|has|in} a day?|How many hours does a day have?|{Hours|Number of hours} in a day?|What is the number of hours in a day?|How long is a day?|Tell me how many hours a day has.|In a day, how many hours are there?|~A day has how many hours?}", "A day has 24 hours.", "24")]

# ---------------------------------------------------------------- sums; <t> things, <n> somebody
SUM = frames("addition", "<x>+<y>{?|=|=?|}", "Add <x> {to|and} <y>.", "{Calculate|Compute|Add} <x> {+|plus|and} <y>.",
             "{What is|What's|Tell me|Give me|Find|Say} the {sum|total} of <x> and <y>{?|.}", "What do <x> and <y> make{|together}?",
             "If I have <x> <t> and get <y> more, how many do I have?", "How much do I get if I add <x> and <y>?",
             "{Can|Could} you add <x> {and|to} <y>?", "What do you get if you add <y> to <x>?", "Please add <x> and <y>.", "{Sum|Total} of <x> and <y>?",
             "I have <x> <t> and {buy|find|get} <y> more. How many {do I have|<t> do I have|is that}?", "<y> more than <x> is what?",
             "There are <x> boys and <y> girls. How many {children |}are there{| in all| together}?", "What is <y> more than <x>?",
             "<n> has <x> <t> and {gets|buys|finds} <y> more. How many {<t> |}does <n> have{| now}?", "<x> <t> and <y> <t>, how many is that?",
             "I had <x> <t>. <n> gave me <y>. How many do I have{| now}?", "Put <x> and <y> together.", "<x> and <y> {together|in all}?",
             "I have <x> <t>, <n> has <y>. How many {do we have|is that|are there}{| together| in all}?",
             "<n> has <x> <t> and I have <y>. How many {<t> |}{are there|do we have}{| in all| together}?",
             "<n> and I have <x> and <y> <t>. How many {is that|do we have} together?",
             "~How many are <x> and <y>{| together}?", "~If you add <x> and <y>, what {do you get|is it}?",
             "~<n> has <x> <t>, I have <y>. How many have we together?", old=RESULT, new=RESULT_NEW, e="<x> {+|+|plus|plus|and} <y>")
DIFFERENCE = frames("subtraction", "<x>-<y>{?|=|=?|}", "{Subtract|Take} <y> from <x>.", "What is <x> take away <y>?", "{Subtract|Take away} <y> from <x>, please.",
                    "{What is|What's|Tell me|Give me|Find|Say} the difference {of|between} <x> and <y>{?|.}",
                    "If I have <x> <t> and {give away|lose|eat|sell} <y>, how many {do I have|are left}?", "How much is left if I take <y> from <x>?",
                    "{Can|Could} you {subtract|take} <y> from <x>?", "What do you get if you subtract <y> from <x>?", "<x> take away <y>?",
                    "I have <x> <t> and {lose|sell|eat|give away} <y>. How many {are left|do I have|<t> are left}{| now}?", "<y> less than <x> is what?",
                    "There are <x> <t>. I take <y>{| of them}. How many are left?", "What is <y> less than <x>?", "<x> less <y>{| is}?",
                    "<n> has <x> <t> and {loses|sells|gives away} <y>. How many {<t> |}{are left|does <n> have}{| now}?",
                    "I had <x> <t>. <n> took <y>. How many {are left|do I have}?", "{Difference|The difference} of <x> and <y>?",
                    "What is left {of|from} <x> after <y> {are|is} gone?", "How much {more|bigger} is <x> than <y>?", "Please {subtract|take} <y> from <x>.",
                    "I bought <x> <t> and lost <y>. How many {are left|do I have}?",
                    "<n> had <x> <t> and gave me <y>. How many {are left|does <n> have{| now}}?",
                    "I had <x> <t>. I gave <y> to <n>. How many do I have now?",
                    "~How many are left if I take <y> from <x>?", "~If you take <y> from <x>, what {is left|do you get}?",
                    "~I bought <x> <t> and gave <y> to <n>. How many are left?", old=RESULT, new=RESULT_NEW, e="<x> {-|-|minus} <y>")
COUNTED = "apples coins books stones stars eggs birds cookies cups pens cards nuts flowers balls toys pears keys hats fish".split()

# ---------------------------------------------------------------- sorting; <l> the list, <w> what is wanted
_THESE = "{these numbers|the numbers|these|this list|the list|my numbers|my list|numbers|all numbers}"
_UP = "{from small to large|from smallest to largest|from low to high|smallest first|lowest first|in ascending order|ascending|upwards|from small to big|by size}"
_DOWN = "{from large to small|from largest to smallest|from biggest to smallest|from high to low|from big to small|largest first|biggest first|highest first|in descending order|descending|downwards|backwards|in reverse order}"
_PLEASE = "{|Please |Can you |Could you |Now |I want you to |}"
ASCENDING = ("{Sort <l>|" + _PLEASE + "{sort|order|put in order|arrange|rank} " + _THESE + ": <l>|{Put|Bring|List|Write|Say|Please put} " + _THESE + " in order: <l>|"
             "{Sort|Order} <l>{| please}|{Sort|Order} " + _UP + ": <l>|" + _PLEASE + "{sort|order|arrange|list} " + _THESE + " " + _UP + ": <l>|"
             "{Sort|Order|Arrange|List} <l> " + _UP + "|<l> " + _UP + "|<l>: {sort|order} {them|these|it}{|, please}|<l>. {Sort|Order} {them|these}.|"
             "{Sort|Order|Sorted|In order|The right order}: <l>|What is the {right |}order of " + _THESE + ": <l>|{Help me sort|I need to sort|I want to sort} " + _THESE + ": <l>|"
             "What are " + _THESE + " in order: <l>|~Can you put {these|these numbers} in order: <l>|~Give me {these numbers|the list} in order: <l>|"
             "~{Help me|I want you to} put " + _THESE + " in order: <l>|~Bring " + _THESE + " in order " + _UP + ": <l>}")
DESCENDING = ("{" + _PLEASE + "{sort|order|arrange|list|rank} " + _THESE + " " + _DOWN + ": <l>|{Sort|Order|Arrange|Put in order} " + _DOWN + ": <l>|"
              "{Sort|Order|Arrange|List} <l> " + _DOWN + "|<l> " + _DOWN + "|<l>: {sort|order} {them|these|it} " + _DOWN + "|Sort {down|backwards}: <l>|"
              "<l>. {Sort|Order} {them|these} " + _DOWN + ".|{List|Bring|Say|Write} " + _THESE + " in order " + _DOWN + ": <l>|What are " + _THESE + " " + _DOWN + ": <l>|"
              "~Put {these numbers|these} in order {from large to small|from largest to smallest}: <l>|~{Give me|Help me sort} " + _THESE + " " + _DOWN + ": <l>}")
COMPARE = "{{Which|What} {number |}is <w>{,|:|} <x> or <y>?|Is <x> or <y> <w>?|{Tell me w|W}hich {number |}is <w>: <x> or <y>{?|.}|{Which|What} is the <w> {one|number}, <x> or <y>?|<x> or <y>, {which|what} is <w>?|<w>: <x> or <y>?|Of <x> and <y>, which is <w>?|Do you know which is <w>, <x> or <y>?|~What number is the <w> one, <x> or <y>?|~Is <x> <w> or <y>?}"
EXTREME = "{{What|Which} is the <w> {number|of these}: <l>?|{Find|Name|Tell me|Give me|What is|Say|Pick|Show me} the <w> {number|of these numbers|one|of these|number here}: <l>|Which number is the <w>: <l>?|<w>{| number}: <l>|<l>: {what|which} is the <w>{| number}?|The <w> of <l>?|Please {tell me|find} the <w>: <l>|I need the <w>{| number}: <l>|{Which|What} of these is the <w>: <l>?|~Can you {find|tell me} the <w> {number|one}: <l>|~{What|Which} number here is <w>: <l>|~Among these, {what|which} is the <w>: <l>}"

# ---------------------------------------------------------------- counting
COUNT_DOWN = "{{Count|Please count|Can you count|I want you to count|Now count} {down|backwards|down for me} from <x> to <y>|{Count|Please count|Can you count} from <x> down to <y>|Count from <x> to <y>|Count {down|backwards}: <x> to <y>|From <x> {down|back} to <y>|{Say|List|Write} the numbers {down |backwards |}from <x> to <y>|<x> to <y>, {down|backwards}|Numbers from <x> down to <y>|~Please count {down|backwards}, from <x> to <y>|~Give me the numbers from <x> down to <y>}{.||!}"
COUNT_TO = "{{Count|Count up|Please count|Can you count|Count for me|Could you count|Now count|Let us count|Start counting|Try to count} to <y>|{Count|Say the numbers|List the numbers|Write the numbers|Numbers} from one to <y>|{Say|List|Write|Name} {all |the |}numbers up to <y>|I want to hear you count to <y>|~I want you to count to <y>|~Show me that you can count to <y>}{.||!|?}"
COUNT_FROM = "{{Count|Count up|Please count|Can you count|Say the numbers|List the numbers|Write the numbers|Count for me|Could you count|Now count|Name the numbers|Numbers|Let us count|Tell me the numbers} from <x> to <y>|Count <x> to <y>|From <x> to <y>|{Count|Start} at <x> and {stop|end} at <y>|{What|Which} numbers are from <x> to <y>|<x> to <y>|Begin with <x> and count to <y>|~I want you to count from <x> to <y>|~Give me the numbers from <x> to <y>}{.||!}"
NEXT_NUMBER = "{{What|Which} number {comes|is|comes next|comes right} after <n>?|What comes {|right |next }after <n>?|{Tell me|Name|Say|Give me} the {|next }number after <n>.|What is {the next number |next |the number |}after <n>?|After <n> comes {what|which number}?|Number after <n>?|<n>, and then?|What follows {after |}<n>?|The next number after <n>?|{What|Which} number is following <n>?|What is the number following <n>?|{The number|Number} following <n>?|{Tell me|Say|Name} the number following <n>.|What comes following <n>?|What about the number following <n>?|Do you know what comes after <n>?|~Which number follows <n>?|~Which is the number right after <n>?}"
NUMBER_BEFORE = "{{What|Which} number {comes|is|was} before <n>?|What {comes|is|was} {|right }before <n>?|{Tell me|Name|Say|Give me} the number {|right }before <n>.|Before <n> comes {what|which number}?|Number before <n>?|Do you know what comes before <n>?|What number do I say before <n>?|~Which number comes right before <n>?|~Which is the number just before <n>?}"
HOW_MANY = "{How many {words|things|items} {are {in this list|in the list|here|there}|do you see|do I have|are these|did I {write|say}}: <l>?|Count {these|the words|the items|these words|these things|this list|the things}: <l>|How many are {there|these|in this list}: <l>?|How long is {this|the} list: <l>?|{Count|How many|Please count}: <l>|<l>: how many{| words| things} {are there|is that|are these}?|{I want to know|Do you know} how many {words|things|items} {there are|these are}: <l>|Number of {words|things|items}: <l>|Can you count {these|the words|them}: <l>|~{Tell me how many|Say how many} {words|things|items} are in this list: <l>|~Count the {words|things|items} in {this|the} list: <l>}"

# ---------------------------------------------------------------- copying; <t> the text, <w> what to say, <o> "first", "second", "last"
REPEAT = "{{Repeat|Say|Echo|Write|Copy|Print|Type|Output|Please repeat|Please say|Now say|Now repeat|Say again|Repeat exactly|Just say}: <t>|{Repeat|Say} after me: <t>|{Repeat|Say|Copy|Write|Print} {this|these words|the words|the text|my words|it}: <t>|Please {repeat|say|write} {this|these words|the words|}: <t>|{Say|Repeat|Write} {the word <t>|<t>}|{Can|Could} you {say|write|copy} {this|these words|it}: <t>|I want you to {say|repeat|write}: <t>|Can you repeat: <t>|Repeat what I say: <t>|~Can you repeat {this|these words}: <t>|~Please {copy|print}: <t>}"
SAY_TO = "{{Say|Please say|Can you say|Could you say|Now say|I want you to say|You should say} <w> to <n>|Say to <n>: <w>|<n> is here. Say <w>|Please tell <n>: <w>|~Tell <n> <w>|~Will you say <w> to <n>}{.||!}"
WHICH_ITEM = "{What is the <o> {word|name|item|one}{ in this list| of these|}: <l>?|{Tell me|Say|Give me|Name|Find|Write} the <o> {word|name|one|item}{| of this list| of these}: <l>|Which {word|name|item} is <o>: <l>?|{The <o>|<o>} {word|one|name|item}: <l>|<l>: {what|which} is the <o>{| one| word}?|Which is the <o> of these: <l>?|~Which one is <o>: <l>?|~Which word comes <o>: <l>?}"
GIRL_OR_BOY = "{Is <n> a {girl or a boy|boy or a girl}?|<n>: {a |}{girl or boy|boy or girl}?|Girl or boy: <n>|Is <n> a boy?|Is <n> a girl?|Is <n> the name of a {girl or a boy|boy or a girl}?|What is <n>, a {girl or a boy|boy or a girl}?|~Tell me if <n> is a {girl or a boy|boy or a girl}.}"
