"""The built-in guide: what signum is and how to use it. (key words that an answer must contain, wordings, answer)

Every list of wordings is a few small grammars; "~" alternatives are never seen in training (see grammar.py).
HOWTO and FLAG are shared by many facts, so that a wording learned for one fact carries over to the next.
"""

HOWTO = "{How {do I|can I|to|do you|does one|should I|could I|do we|must I|~would I}|What is the {|best |easiest |right }way to|{Tell me|Show me|Teach me|~Explain} how to|{Tell me|Show me} how {I can|I}|What do I {type|do|enter|write|have to type|have to do|need} to|{I want|I would like|I'd like|I am trying|I try|I have|~I need} to|{Which|What} {command|flag|option} {do I use|is used|do I need|is there} to|Is it possible to|Is there {a|any} {way|option|command} to|Can {I|signum|one|we}|{Can|Could} you {tell|show} me how to|Help me{| to}|Please {tell|show} me how to|I don't know how to|Do you know how to|What must I {type|do} to|How would one|} "
END = "{?|?|| with signum?| in signum?| with this program?| here?|, please?| on my computer?|~ using signum?}"
FLAG = "{What {does|is} the {flag|option} <f>{ do| for|}?|What does <f> {do|mean}{| in signum}?|What is <f>{| for}?|{Explain|Tell me about|Describe} {the {flag|option} |}<f>.|{the {flag|option} |}<f>?|What {happens with|is the use of} <f>?|What is the {meaning|purpose|point|effect} of <f>?|What {will|would} <f> do?|What does the <f> {flag|option} {do|mean}?|{When|Why} do I {need|use} <f>?|How do I use {the {flag|option} |}<f>?|Can you explain {the {flag|option} |}<f>?|What about <f>?|<f> {means|does} what?|{Say|Tell me} what <f> {does|means}.|Do you know what <f> {does|means}?|I want to know what <f> {does|means}.|What did <f> do again?|{I don't understand|Help me with} <f>.|Could you tell me what <f> does?|Please explain <f>.|What {change|is changed} with <f>?|signum <f>?|What is <f> used for?|~How does <f> work?|~What can I do with <f>?|~What is <f> good for?}"
CMD = "{What does {the command |}signum <f> do?|What is signum <f>{| for}?|What does the {command <f>|<f> command} do?|{Explain|Tell me about|Describe} {the command |}signum <f>.|{Explain|Tell me about|Describe} the <f> command.|signum <f>?|What is the {purpose|use|point} of {signum <f>|the <f> command}?|How do I use {signum <f>|the <f> command}?|What {will|would|happens with} signum <f>?|{Say|Tell me} what signum <f> does.|Do you know what signum <f> does?|Why do I need {signum <f>|the <f> command}?|Can you explain {signum <f>|the <f> command}?|What about signum <f>?|What is the <f> command{| for}?|I want to know what signum <f> does.|Please explain signum <f>.|signum <f> does what?|What does signum <f> mean?|How does signum <f> work?|What is {signum <f>|the <f> command} good for?|~What can I do with signum <f>?|~When do I use {signum <f>|the <f> command}?}"
ENV = "{What {does|is} {the variable |the environment variable |}<f>{ do| for|}?|What does <f> {do|mean}?|{Explain|Tell me about|Describe} <f>.|<f>?|What is the {purpose|meaning|use} of <f>?|How do I use <f>?|What about <f>?|{When|Why} do I {need|set|use} <f>?|{Say|Tell me} what <f> does.|Do you know what <f> does?|Can you explain <f>?|I want to know what <f> does.|What is <f> used for?|What happens if I set <f>?|What is <f> good for?|~How does <f> work?|~What can I do with <f>?}"


def _flag(name, answer, *keys, ask=FLAG):
    return [*keys], [ask.replace("<f>", name)], answer


FACTS = [
    # --- what it is
    (["signum", "1-bit"], ["{What is|What's|Tell me about|Explain|~Describe} signum{?|?|.|, please.| for?}|What {does signum do|is signum for|can signum do}?|What {does|is} this program{| do}?|What {does the word |does }signum mean?|What is the {purpose|point|idea} of signum?|Why {signum|should I use signum|is there signum}?|Do you know {signum|what signum is}?|Can you explain {signum|what signum is}?|I want to know {what signum is|about signum}.|Who uses signum?|Is signum a {program|model|game}?|What is {so |}special about signum?|Please explain signum.|I don't know signum.|signum?|Which program is this?|{Who or what|What kind of program} is signum?|~What {sort of thing|kind of tool} is signum?"],
     "signum is a program that runs 1-bit language models on your own computer. Try: signum chat"),
    (["one bit"], ["{What is|What's|What are|Explain|Tell me about|~Describe} {a |}1-bit {language |}{model|models|weights}{?|.}|What does 1-bit mean?|{Why|How} 1-bit?|What is {meant by|special about} {1-bit|one bit}?|How {do|can} {1-bit models|1-bit weights} work?|Can you explain 1-bit {models|weights}?|{Why are|Are} 1-bit models {small|fast|good}?|What is a bit model?|I want to know what 1-bit means.|How is a weight stored{| in one bit}?|What is the idea of 1-bit models?|~What do you mean by 1-bit?"],
     "A 1-bit model stores each weight as one bit, plus or minus, with one scale for 128 weights. So it is small and fast."),
    (["signum --help"], [HOWTO + "{get help|see {all|the} {commands|flags|options}|list {all|the} {commands|flags|options}}" + END, "{Where is|Where can I find|~Is there any} {the |}help{?| for signum?}|Help{!||!}|{What|Which} {commands|flags|options} {are there|does signum have}?|I need help{.||!}|{Help me|Can you help me|Help} with signum{.|?|}|How {do I use|does one use|do I start with} signum?|How does signum work?|{What|Which} commands {can I use|does it have|are possible}?|{List|Show me|Tell me|Name} {all |the |}{commands|flags|options}{.||?}|Where are the {flags|commands|options}?|{Is there|Where is|Do you have} a manual?|I don't know how to use signum{.|}|How do I {start|begin}?|Where do I {start|begin}?"],
     "Type signum --help to see all commands and flags. The main commands are run, chat, batch and bench."),
    (["GGUF"], ["{What|Which} {files|file types|models|formats|file format} {can signum {read|load|run}|does signum {read|load|run|~support}|work with signum}?|Which models {can I use|does it support|are supported|run on signum}?|Does signum {run|read|load} {GGUF|GGUF files|Qwen3|Llama|other models}?|Can {I|signum} {run|load|use} {Llama|other models|Qwen3|any model|GGUF files}?|What is a {GGUF|model} file?|{What is|Tell me about} {a |}GGUF{| file}?|~What model files {can I use|does it read}?"],
     "signum loads GGUF files of the Qwen3 family, such as Bonsai."),
    (["no"], ["Do{es signum| I} need {a GPU|the internet|a network|a graphics card}{?| to run?| to run signum?}|{Can|Does} signum {run|work} without {a GPU|the internet|a network|a graphics card}?|Is {a GPU|the internet|a graphics card} needed?|Do I have to {have a GPU|be online}?|Does signum use {the|my} {GPU|internet|network|CPU}?|{Does|Will} signum {send|upload} {my|any} {data|text}{| anywhere}?|Is my {text|data} {safe|private|sent}?|{Does|Can} it {work|run} {offline|on a CPU|on my computer|on my laptop|without a GPU}?|What {computer|hardware} do I need?|Can I use signum {offline|without internet}?|Is signum {private|offline|safe}?|~Will signum run without {a GPU|the internet}?"],
     "signum needs no GPU and no network. It runs on the CPU, and your text stays on your computer."),

    # --- commands
    (["signum run"], [CMD.replace("<f>", "run"), HOWTO + "{ask one question|run {a|one} prompt|ask {something|a question} once|get one answer|complete a text|continue a text}" + END],
     "signum run answers one prompt and stops. Example: signum run -p \"Tell me a story\""),
    (["signum chat"], [CMD.replace("<f>", "chat"), HOWTO + "{chat|start a chat|talk to {a|the} model|have a conversation|start a conversation}" + END],
     "signum chat starts a conversation in the terminal. Example: signum chat -m model.gguf"),
    (["signum batch"], [CMD.replace("<f>", "batch"), HOWTO + "{run many prompts|ask many questions|answer many {prompts|questions}|{use|run|process} a file {of|with} {prompts|questions}}" + END],
     "signum batch answers many prompts from a JSONL file and loads the model once. Example: signum batch -i prompts.jsonl -o answers.jsonl"),
    (["signum bench"], [CMD.replace("<f>", "bench"), HOWTO + "{measure {the |}speed|see how fast {it|signum|my computer} is|test {the |}speed|run a benchmark}" + END, "How fast is {signum|it|my computer}?"],
     "signum bench measures the speed in tokens per second. Example: signum bench -m model.gguf"),
    (["signum perplexity"], [CMD.replace("<f>", "perplexity"), HOWTO + "{measure {the |}perplexity|measure {the |}quality|test {the |}quality of a model|see how good a model is}" + END],
     "signum perplexity measures how well a model predicts a text. Example: signum perplexity -f text.txt"),
    (["signum tokenize"], [CMD.replace("<f>", "tokenize"), HOWTO + "{see {the |}tokens{| of a text}|count {the |}tokens|get {the |}token ids|split a text into tokens}" + END],
     "signum tokenize shows the tokens of a text. Example: signum tokenize -p \"Hello\""),
    (["signum render"], [CMD.replace("<f>", "render"), HOWTO + "{see the {chat |}template|see the {full|whole} prompt|show the {full|whole} prompt|see what the model gets}" + END],
     "signum render shows the full prompt after the chat template. Example: signum render --jsonl -f chats.jsonl"),
    (["signum info"], [CMD.replace("<f>", "info"), HOWTO + "{see what is in a {model|GGUF} file|{see|show|list} {the |}{metadata|tensors}|look into a model{| file}|get facts about a model}" + END],
     "signum info shows what is in a model file. Example: signum info -m model.gguf"),
    (["signum check"], [CMD.replace("<f>", "check"), HOWTO + "{check {a|my} {model|file|model file}|see if {a|my} {model|file} is {good|broken|damaged}|find out if {a|my} {model|file} is {good|broken|damaged}}" + END],
     "signum check tells you if a model file is good or damaged. Example: signum check -m model.gguf"),
    (["signum logits"], [CMD.replace("<f>", "logits"), HOWTO + "{see {the |}{logits|scores|raw scores}|{print|get} {the |}{logits|scores|raw scores}|see the next token scores}" + END],
     "signum logits writes the raw scores of the tokens. Example: signum logits -p \"Hello\" -o scores.bin"),

    # --- flags
    _flag("-m", "The flag -m names the model file. Example: signum chat -m model.gguf", "model file"),
    (["-m"], [HOWTO + "{choose {a|the|another} model|use another model|name a model|load a model|set the model|use my own model}" + END, "{What|Which} {flag|option} {sets|names|~chooses} the model{| file}?"],
     "Use -m to choose the model file. Example: signum chat -m model.gguf"),
    _flag("-p", "The flag -p gives the prompt. Example: signum run -p \"Hello\"", "prompt"),
    _flag("-f", "The flag -f reads the prompt from a file. Use -f - for standard input.", "file"),
    (["-f"], [HOWTO + "{read {a|the} prompt from a file|use a file as {a |the |}prompt|{give|pass} {a file|a text file}}" + END, "{What|Which} {flag|option} reads a file?"],
     "Use -f to read the prompt from a file. Example: signum run -f prompt.txt"),
    _flag("-n", "The flag -n sets the largest number of tokens to write. Example: -n 100", "tokens"),
    (["-n"], [HOWTO + "{limit the {answer|length|number of tokens|output}|get {short|shorter|long|longer} answers|set the length{| of the answer}|stop after 100 tokens}" + END, "{What|Which} {flag|option} {sets|limits|~controls} the {length|number of tokens}?"],
     "Use -n to limit the number of tokens. Example: signum run -n 100"),
    _flag("-c", "The flag -c sets the context length in tokens. With -c 0 it is the largest that the model allows.", "context"),
    (["-c"], [HOWTO + "{set the context{| length| size}|get a {longer|larger|bigger} context|change the context{| length| size}}" + END, "{What|Which} {flag|option} {sets|changes|~controls} the context{| length| size}?"],
     "Use -c to set the context length. Example: signum chat -c 2048"),
    _flag("-t", "The flag -t sets the number of threads. Example: signum run -t 4", "threads"),
    (["-t"], [HOWTO + "{set the {number of |}threads|use {more|all|fewer|4|2} {threads|cores}|change the number of threads}" + END, "{What|Which} {flag|option} {sets|changes|~controls} the {number of |}{threads|cores}?"],
     "Use -t to set the number of threads. Example: signum run -t 4"),
    _flag("--temp", "The flag --temp sets the temperature. With --temp 0 the answer is always the same; higher is more random.", "temperature"),
    (["--temp"], [HOWTO + "{set the temperature|change the temperature|get {more|less} random {answers|text}|make {it|the answer} {more|less} random}" + END, "{What|Which} {flag|option} {sets|changes|~controls} the temperature?"],
     "Use --temp to set the temperature. Example: signum run --temp 0.7"),
    _flag("--top-k", "The flag --top-k keeps only the k most likely tokens. Example: --top-k 20", "most likely"),
    _flag("--top-p", "The flag --top-p keeps the most likely tokens that together reach p. Example: --top-p 0.9", "together"),
    _flag("--seed", "The flag --seed, or -s, sets the random seed. The same seed gives the same text.", "seed"),
    _flag("-s", "The flag -s, or --seed, sets the random seed. The same seed gives the same text.", "seed"),
    (["--seed"], [HOWTO + "{get the same {answer|text|story} again|set the {seed|random seed}|repeat an answer|always get the same {answer|text}}" + END, "{What|Which} {flag|option} {sets|changes|~controls} the {random |}seed?"],
     "Use --seed with the same number to get the same text again. Example: signum run --seed 42"),
    _flag("--json", "The flag --json writes the answer as JSON, for other programs.", "JSON"),
    (["--json"], [HOWTO + "{get JSON|get {the answer as |}JSON{| output}|write JSON|use signum in a script}" + END, "{What|Which} {flag|option} {gives|writes|~makes} JSON?"],
     "Use --json to get the answer as JSON. Example: signum run --json -p \"Hello\""),
    _flag("--stop", "The flag --stop ends the answer at a given text. Example: --stop \"END\"", "ends the answer"),
    (["--stop"], [HOWTO + "{stop at a {word|text}|end the answer at a {word|text}|set a stop {word|text}}" + END],
     "Use --stop to end the answer at a given text. Example: --stop \"END\""),
    _flag("--raw", "The flag --raw uses the prompt as it is, without the chat template.", "template"),
    (["--raw"], [HOWTO + "{turn off the {chat |}template|run without {a|the} {chat |}template|use {a plain|the plain|a raw} prompt}" + END],
     "Use --raw to run without the chat template. Example: signum run --raw -p \"Once upon a time\""),
    _flag("--think", "The flag --think turns thinking on or off, if the model can think. Example: --think off", "thinking"),
    (["--think"], [HOWTO + "{turn {on|off} thinking|turn thinking {on|off}|let the model think|stop the thinking}" + END],
     "Use --think on or --think off. It works only if the model can think."),
    _flag("-sys", "The flag -sys gives the system prompt. Example: signum chat -sys \"Be brief.\"", "system prompt"),
    (["-sys"], [HOWTO + "{set {a|the} system prompt|give {a|the} system prompt|change the system prompt|use a system prompt}" + END, "{What|Which} {flag|option} {sets|changes|~controls} the system prompt?"],
     "Use -sys to give a system prompt. Example: signum chat -sys \"Be brief.\""),

    _flag("-i", "The flag -i names the file with the requests. Example: signum batch -i prompts.jsonl", "requests"),
    _flag("-o", "The flag -o names the file to write to. Example: signum batch -i in.jsonl -o out.jsonl", "write to"),
    (["-o"], [HOWTO + "{write {the answer|the answers|the output} to a file|save {the answer|the answers|the output}|put the {answer|output} in a file|name the output file}" + END],
     "Use -o to write to a file. Example: signum batch -i in.jsonl -o out.jsonl"),
    _flag("-np", "The flag -np sets how many prompts run at once in signum batch. Example: signum batch -np 8", "at once"),
    _flag("--resume", "The flag --resume lets signum batch go on where it stopped. What is finished is skipped.", "skipped"),
    (["--resume"], [HOWTO + "{go on after a crash|continue a {batch|stopped batch|batch run}|resume a {batch|run}|go on with a batch|not lose my batch}" + END, "{Can|Will} signum batch {go on|continue} after a crash?"],
     "Use --resume: signum batch -i in.jsonl -o out.jsonl --resume"),
    _flag("--choice", "The flag --choice makes the answer one of your options. Example: --choice yes,no", "one of"),
    (["--choice"], [HOWTO + "{get {a |}yes or no|choose between {options|answers}|classify {a text|texts}|make the model choose|get one of {two|three|some} answers}" + END],
     "Use --choice to get one of your options. Example: signum run --choice yes,no -p \"Is it good?\""),
    _flag("-j", "The flag -j makes the answer JSON that fits a schema.", "schema"),
    _flag("-q", "The flag -q is quiet: no notes and no progress.", "quiet"),

    # --- environment
    _flag("SIGNUM_MODEL", "SIGNUM_MODEL names the model file to use when there is no -m.", "model", ask=ENV),
    _flag("SIGNUM_THREADS", "SIGNUM_THREADS sets the number of threads to use when there is no -t.", "threads", ask=ENV),
    _flag("SIGNUM_ISA", "SIGNUM_ISA names the instruction set to use, such as avx2 or avx512.", "instruction set", ask=ENV),
    (["SIGNUM_MODEL"], [HOWTO + "{set a default model|always use {the same|my own|one} model}" + END, "{What|Which} environment {variable|variables} {are there|sets the model|does signum read}?"],
     "Set SIGNUM_MODEL to your model file. There are also SIGNUM_THREADS and SIGNUM_ISA."),

    # --- Bonsai
    (["Bonsai", "1-bit"], ["{What is|What's|Tell me about|Explain|~Describe} Bonsai{?|?|.| for?}|What {are|is} {the |}Bonsai {models|model}?|{Who or what|What kind of model} is Bonsai?|Do you know {Bonsai|what Bonsai is}?|Is Bonsai {a model|better than you|good|large|a tree}?|Why {Bonsai|should I use Bonsai}?|Can you explain {Bonsai|what Bonsai is}?|I want to know {about Bonsai|what Bonsai is}.|How {good|clever|smart} is Bonsai?|What is {so |}special about Bonsai?|{Who or what|Which model} is called Bonsai?|Bonsai?|Is there a {model called Bonsai|Bonsai model}?|What can Bonsai do?"],
     "Bonsai is a family of 1-bit language models: 1.7B, 4B and 8B. It is much larger and better than me."),
    (["sh tools/fetch_model.sh bonsai-1.7b"], [HOWTO + "{get|download|install|fetch|find} {Bonsai|Bonsai 1.7B|Bonsai-1.7B|the small Bonsai|a Bonsai model|a {better|bigger|larger|real} model}" + END, "Where {can I {get|find|download}|do I {get|find|download}|is} {Bonsai|Bonsai 1.7B|a {better|bigger|larger|real} model}?|I {want|need|would like|wish for} {Bonsai|Bonsai 1.7B|a Bonsai|a {better|bigger|larger|real|smarter} model}.|{Give|Get|Show|Bring|Find} me {Bonsai|a {better|bigger|larger|real|smarter} model}.|{Can|May} I {have|get|use|download} {Bonsai|a {better|bigger|larger|real} model}?|Which {better|bigger|larger} model is there?|{Better model|Download Bonsai|Get Bonsai}{.||?}|Do you have {Bonsai|a better model}?|~Is there a {better|bigger|larger} model?"],
     "Run: sh tools/fetch_model.sh bonsai-1.7b\nThen: signum chat -m models/Bonsai-1.7B-Q1_0.gguf"),
    (["sh tools/fetch_model.sh bonsai-4b"], [HOWTO + "{get|download|install|fetch|find} {Bonsai 4B|Bonsai-4B|the middle Bonsai|the 4B model}" + END, "Where {can I {get|find|download}|do I {get|find|download}|is} {Bonsai 4B|Bonsai-4B|the 4B model}?"],
     "Run: sh tools/fetch_model.sh bonsai-4b\nThen: signum chat -m models/Bonsai-4B-Q1_0.gguf"),
    (["sh tools/fetch_model.sh bonsai-8b"], [HOWTO + "{get|download|install|fetch|find} {Bonsai 8B|Bonsai-8B|the large Bonsai|the biggest Bonsai|the 8B model}" + END, "Where {can I {get|find|download}|do I {get|find|download}|is} {Bonsai 8B|Bonsai-8B|the 8B model}?"],
     "Run: sh tools/fetch_model.sh bonsai-8b\nThen: signum chat -m models/Bonsai-8B-Q1_0.gguf"),
    (["signum chat -m models/Bonsai-1.7B-Q1_0.gguf"], [HOWTO + "{run|start|use|load|chat with|talk to|open|try|launch|ask} {Bonsai|Bonsai 1.7B|Bonsai-1.7B|the small Bonsai|a Bonsai model}" + END],
     "Run: signum chat -m models/Bonsai-1.7B-Q1_0.gguf"),
    (["signum chat -m models/Bonsai-4B-Q1_0.gguf"], [HOWTO + "{run|start|use|load|chat with|talk to|open|try|launch|ask} {Bonsai 4B|Bonsai-4B|the middle Bonsai|the 4B model}" + END],
     "Run: signum chat -m models/Bonsai-4B-Q1_0.gguf"),
    (["signum chat -m models/Bonsai-8B-Q1_0.gguf"], [HOWTO + "{run|start|use|load|chat with|talk to|open|try|launch|ask} {Bonsai 8B|Bonsai-8B|the large Bonsai|the biggest Bonsai|the 8B model}" + END],
     "Run: signum chat -m models/Bonsai-8B-Q1_0.gguf"),
    (["248 MB"], ["How {big|large} is {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai|the 1.7B model}?|What is the size of {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|What size {is|has} {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|{The size|Size} of {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|How much {space|memory|room} does {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai} {need|take|use}?|Tell me {the size of|how big} {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}{| is}.|Is {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai} {big|large|small}?|How long is the file of {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|How many bytes {is|are in} {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|{Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}: how {big|large}?|I want to know the size of {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}.|Do you know how big {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai} is?|How {big|large} is the file {of|for} {Bonsai 1.7B|Bonsai-1.7B|the small Bonsai}?|~How many MB does {Bonsai 1.7B|Bonsai-1.7B} have?"],
     "Bonsai 1.7B is 248 MB."),
    (["572 MB"], ["How {big|large} is {Bonsai 4B|Bonsai-4B|the middle Bonsai|the 4B model}?|What is the size of {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|What size {is|has} {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|{The size|Size} of {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|How much {space|memory|room} does {Bonsai 4B|Bonsai-4B|the middle Bonsai} {need|take|use}?|Tell me {the size of|how big} {Bonsai 4B|Bonsai-4B|the middle Bonsai}{| is}.|Is {Bonsai 4B|Bonsai-4B|the middle Bonsai} {big|large|small}?|How long is the file of {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|How many bytes {is|are in} {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|{Bonsai 4B|Bonsai-4B|the middle Bonsai}: how {big|large}?|I want to know the size of {Bonsai 4B|Bonsai-4B|the middle Bonsai}.|Do you know how big {Bonsai 4B|Bonsai-4B|the middle Bonsai} is?|How {big|large} is the file {of|for} {Bonsai 4B|Bonsai-4B|the middle Bonsai}?|~How many MB does {Bonsai 4B|Bonsai-4B} have?"],
     "Bonsai 4B is 572 MB."),
    (["1.16 GB"], ["How {big|large} is {Bonsai 8B|Bonsai-8B|the large Bonsai|the biggest Bonsai|the 8B model}?|What is the size of {Bonsai 8B|Bonsai-8B|the large Bonsai}?|What size {is|has} {Bonsai 8B|Bonsai-8B|the large Bonsai}?|{The size|Size} of {Bonsai 8B|Bonsai-8B|the large Bonsai}?|How much {space|memory|room} does {Bonsai 8B|Bonsai-8B|the large Bonsai} {need|take|use}?|Tell me {the size of|how big} {Bonsai 8B|Bonsai-8B|the large Bonsai}{| is}.|Is {Bonsai 8B|Bonsai-8B|the large Bonsai} {big|large|small}?|How long is the file of {Bonsai 8B|Bonsai-8B|the large Bonsai}?|How many bytes {is|are in} {Bonsai 8B|Bonsai-8B|the large Bonsai}?|{Bonsai 8B|Bonsai-8B|the large Bonsai}: how {big|large}?|I want to know the size of {Bonsai 8B|Bonsai-8B|the large Bonsai}.|Do you know how big {Bonsai 8B|Bonsai-8B|the large Bonsai} is?|How {big|large} is the file {of|for} {Bonsai 8B|Bonsai-8B|the large Bonsai}?|~How many GB does {Bonsai 8B|Bonsai-8B} have?"],
     "Bonsai 8B is 1.16 GB."),
    (["248 MB", "572 MB", "1.16 GB"], ["How {big|large} {are|is} {the |}Bonsai{| models}?|What {sizes|models} of Bonsai are there?|{Which|What} Bonsai models are there?|What are the sizes of {the |}Bonsai{| models}?"],
     "Bonsai 1.7B is 248 MB, Bonsai 4B is 572 MB and Bonsai 8B is 1.16 GB."),
]
# a top-level "a|b" in a wording is an alternation too
FACTS = [(keys, ["{" + w + "}" for w in asks], answer) for keys, asks, answer in FACTS]

FAKE_FLAGS = """--fast --gpu --train --image --voice --port --upload --dark --magic --sleep --email --music -x -y -z -w -k -b
--cloud --zoom --paint --sort --lang --beam --speak --dance --cook --sing --big --night --wings --sugar -e -g -u""".split()
FAKE_COMMANDS = "train paint upload sing serve update remove sleep dance cook drive export mail play search".split()
