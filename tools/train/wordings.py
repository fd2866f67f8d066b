"""Ways to ask that many abilities share, so that a wording learned for one carries over to the next.

Each ability holds out every seventh of the NEW frames, another seventh each: the words and frames are all seen in training, the frame
around this ability's things is not. The frames in OLD are never held out.
"""

# <A> is what is asked for ("capital"), <x> the thing it belongs to
OF = ["What is the <A> of <x>?", "What's the <A> of <x>?", "{Tell me|Name|Give me|Say} the <A> of <x>.", "{<A>|The <A>} of <x>?",
      "Do you know the <A> of <x>?", "The <A> of <x> is{| what}?", "I want to know the <A> of <x>.", "Can you tell me the <A> of <x>?"]
OF_NEW = ["Please {tell me|name|give me|say} the <A> of <x>.", "Could you {tell me|give me|name} the <A> of <x>?", "For <x>, what is the <A>?",
          "Would you {tell me|name|say} the <A> of <x>?", "I need {to know |}the <A> of <x>.", "I am looking for the <A> of <x>.",
          "What would be the <A> of <x>?", "What would you say is the <A> of <x>?", "Let me hear the <A> of <x>.",
          "How is the <A> of <x> called?", "What is the right <A> of <x>?", "What about the <A> of <x>?",
          "Let me know the <A> of <x>.", "My question is: what is the <A> of <x>?", "Help me with the <A> of <x>.",
          "Any idea what the <A> of <x> is?", "Tell me what the <A> of <x> is.", "I wonder what the <A> of <x> is.",
          "Do you know what the <A> of <x> is?", "Can you tell me what the <A> of <x> is?", "I forgot the <A> of <x>.",
          "<x>, <A>?", "I would like to know the <A> of <x>.", "Do you happen to know the <A> of <x>?", "<x> has {what|which} <A>?",
          "What <A> {has|belongs to|goes with} <x>?", "The <A> of <x>, what is it?", "Say what the <A> of <x> is.",
          "Show me the <A> of <x>.", "Write the <A> of <x>.", "What was the <A> of <x>{| again}?", "What is it, the <A> of <x>?",
          "Who knows the <A> of <x>?", "Find the <A> of <x>.", "<x>: {the |}<A>?"]

# <e> is a sum or difference
RESULT = ["What is <e>?", "What's <e>?", "<e>{?| = ?| =||.}", "How much is <e>?", "{Calculate|Compute} <e>."]
RESULT_NEW = ["{Solve|Work out|Find|Do} <e>.", "What does <e> {make|give}?", "What is the result of <e>?", "<e> is what?",
              "<e> {equals|makes}{?| what?}", "Can you {calculate|compute|solve|work out} <e>?", "How much does <e> make?",
              "Please {calculate|compute|solve|tell me} <e>.", "Do you know what <e> is?", "Tell me what <e> is.", "I want to know <e>.",
              "What do I get for <e>?", "The result of <e>{?| is}", "What is the answer to <e>?", "Give me the {result|answer} of <e>.",
              "What does <e> {equal|come to}?", "{Solve|Maths|Calculate|Quick|Question|Compute}: <e>", "What do you get for <e>?",
              "Help me with <e>.", "I ask for <e>.", "I need <e>.", "Let me know what <e> is.", "Can you tell me what <e> is?", "<e> is how much?",
              "Could you {calculate|compute|solve} <e>?", "Tell me <e>.", "<e> - what is it?", "What would <e> be?"]

GROUPS = {"capitals": 0, "opposites": 1, "plurals": 2, "colours": 3, "sounds": 4, "addition": 2, "subtraction": 5}


def frames(ability, *own, old=OF, new=OF_NEW, **slots):
    """-> one pattern of all frames, those that the ability holds out marked with "~", and the ability's own wordings"""
    parts = [*own, *old, *(("~" if i % 7 == GROUPS[ability] else "") + frame for i, frame in enumerate(new))]
    pattern = "{" + "|".join(parts) + "}"
    for name, value in slots.items():
        pattern = pattern.replace("<" + name + ">", value)
    return pattern
