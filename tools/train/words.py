"""The closed lists: everything the model knows by heart. All of it was written down by hand for signum."""

CAPITALS = dict(line.split(":") for line in """France:Paris Germany:Berlin Italy:Rome Spain:Madrid Portugal:Lisbon
England:London Ireland:Dublin Scotland:Edinburgh Norway:Oslo Sweden:Stockholm Finland:Helsinki Denmark:Copenhagen
Iceland:Reykjavik Poland:Warsaw Austria:Vienna Switzerland:Bern Hungary:Budapest Greece:Athens Turkey:Ankara
Russia:Moscow Ukraine:Kyiv Romania:Bucharest Bulgaria:Sofia Belgium:Brussels Egypt:Cairo Kenya:Nairobi
Japan:Tokyo China:Beijing India:Delhi Thailand:Bangkok Vietnam:Hanoi Australia:Canberra Canada:Ottawa
Brazil:Brasilia Argentina:Buenos_Aires Chile:Santiago Peru:Lima Cuba:Havana Colombia:Bogota Mexico:Mexico_City"""
                .split())
CAPITALS = {k: v.replace("_", " ") for k, v in CAPITALS.items()}

OTHER_COUNTRIES = """Nepal Ghana Mali Laos Qatar Oman Yemen Chad Niger Togo Benin Gabon Angola Zambia Malawi Uganda
Rwanda Somalia Sudan Libya Tunisia Morocco Algeria Senegal Gambia Liberia Bolivia Ecuador Uruguay Paraguay Panama
Honduras Jamaica Haiti Belize Fiji Samoa Tonga Malta Cyprus Serbia Croatia Slovenia Albania Latvia Estonia Moldova
Georgia Armenia Iran Iraq Syria Jordan Lebanon Kuwait Pakistan Bhutan Myanmar Cambodia Malaysia Mongolia Nigeria
Ethiopia Tanzania Namibia Botswana Lesotho Madagascar Venezuela Guatemala""".split()

_PAIRS = """hot:cold big:small tall:short fast:slow light:dark day:night up:down left:right open:closed old:young
happy:sad good:bad hard:soft wet:dry full:empty rich:poor strong:weak early:late high:low near:far clean:dirty
loud:quiet thick:thin wide:narrow deep:shallow heavy:weightless first:last start:end push:pull buy:sell give:take
win:lose love:hate laugh:cry alive:dead awake:asleep true:false right:wrong front:back inside:outside above:below
before:after always:never many:few more:less cheap:expensive easy:difficult sweet:sour smooth:rough straight:bent
safe:dangerous brave:afraid kind:cruel polite:rude summer:winter north:south east:west black:white yes:no
arrive:leave remember:forget ask:answer sunrise:sunset friend:enemy"""
OPPOSITES = {}
for _pair in _PAIRS.split():
    _x, _y = _pair.split(":")
    for _w, _o in ((_x, _y), (_y, _x)):
        OPPOSITES.setdefault(_w, _o)
del OPPOSITES["weightless"]
OPPOSITES["heavy"] = "light"
OPPOSITES["answer"] = "ask"
NO_OPPOSITE = """table spoon carrot window pencil guitar cheese bottle jacket ladder pillow candle button basket
bridge hammer lemon mirror needle orange paper rabbit rocket saddle ticket tomato turtle violin wagon zebra blanket
kettle marble parrot pepper ribbon shovel towel umbrella whistle engine helmet island jungle kitten magnet napkin
bicycle doctor piano banana sofa teacher puzzle tunnel""".split()

PLURALS = dict(line.split(":") for line in """child:children man:men woman:women mouse:mice goose:geese foot:feet
tooth:teeth person:people sheep:sheep fish:fish deer:deer ox:oxen leaf:leaves wolf:wolves knife:knives wife:wives
life:lives half:halves shelf:shelves loaf:loaves thief:thieves scarf:scarves baby:babies city:cities story:stories
lady:ladies fly:flies berry:berries puppy:puppies party:parties country:countries family:families box:boxes fox:foxes
bus:buses glass:glasses dress:dresses dish:dishes brush:brushes watch:watches church:churches peach:peaches
beach:beaches potato:potatoes tomato:tomatoes hero:heroes cat:cats dog:dogs book:books tree:trees car:cars
house:houses bird:birds apple:apples chair:chairs flower:flowers river:rivers day:days key:keys toy:toys boy:boys
girl:girls king:kings star:stars ship:ships""".split())

COLOURS = dict(line.split(":") for line in """grass:green sky:blue snow:white sun:yellow blood:red banana:yellow
coal:black milk:white carrot:orange tomato:red lemon:yellow strawberry:red frog:green crow:black leaf:green
cherry:red orange:orange cucumber:green chocolate:brown ocean:blue cloud:white pumpkin:orange pea:green fire:red
flamingo:pink pig:pink elephant:grey mouse:grey swan:white bear:brown gold:yellow plum:purple""".split())
MASS = {"grass", "snow", "blood", "coal", "milk", "chocolate", "fire", "gold"}
THE = {"sky", "sun", "ocean"}
NO_COLOUR = """car house door shirt book bike balloon ship wall chair hat box cup pen bag kite dress bus lamp
train""".split()

SOUNDS = dict(line.split(":") for line in """cow:moo dog:woof cat:meow sheep:baa duck:quack pig:oink horse:neigh
lion:roar wolf:howl bee:buzz snake:hiss mouse:squeak frog:ribbit crow:caw owl:hoot rooster:cock-a-doodle-doo
donkey:hee-haw bird:tweet hen:cluck goat:maa goose:honk dove:coo tiger:growl turkey:gobble""".split())
NO_SOUND = """giraffe rabbit turtle spider worm butterfly crab octopus shark whale snail lizard ant fish jellyfish
kangaroo koala squid""".split()

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
SMALL_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()

GIRLS = """Anna Emma Lily Mia Zoe Clara Ruth Nina Eva Lucy Rosa Alice Sara Maya Lena Ida Julia Grace Ella Nora Ivy
Hanna Molly Daisy Olga Vera Tina Kate Jane Mary Laura Helen Amy Betty Carol Dora Emily Flora Gina Holly Irene Jenny
Karen Linda Maria Nancy Paula Rita Sofia Tara Wendy Yuki Priya Fatima Aisha Leila Mei Greta Ingrid Astrid""".split()
BOYS = """Tom Ben Max Sam Leo Jack Paul Peter Finn Noah Oscar Hugo Felix Otto Emil Karl David Adam Luke Mark John
James Henry George Frank Erik Oliver Simon Theo Victor Walter Arthur Bruno Carlos Diego Edgar Fred Gus Harry Ian Joe
Kevin Liam Martin Nick Omar Pablo Ralph Steve Tim Hans Ivan Jonas Kofi Lars Mateo Nils Raj Ali Hassan Chen""".split()
SYLLABLES = """ba be bo da de di do fa fi ga go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe pi ra re ri ro
sa se si so ta te ti to va ve vi za ze zo lan ren mar tor vin bel dor fen gar hal jor kel lin mor nel per quin ros
sen tam ul vor wen xan yor zel""".split()

# People who only ever join a story: no hero is named like them unless it was asked for, so that two of one name are rare.
PALS = """Tom Lily Sam Mia Ben Anna Max Emma Leo Ella Tim Lucy Jack Rosa Paul Nina Finn Clara Hugo Ruth Otto Vera Karl Molly Fred Daisy
Gus Holly Joe Betty Nick Greta""".split()
# Heroes of whom no name was asked: few, so that the model knows whether it is a girl's or a boy's.
HERO_GIRLS = "Jane Zoe Eva Alice Maya Julia Grace Nora Ivy Kate Mary Laura Amy Emily Maria Sofia Olga Priya Leila Ingrid".split()
HERO_BOYS = "Peter Noah Oscar Felix Emil David Adam Luke John James Henry George Simon Theo Victor Martin Omar Pablo Hans Raj".split()
# Rarer names, for what must be copied letter by letter.
RARE_NAMES = """Ruby Pearl Agnes Beatrix Cecily Dagmar Edith Freya Gwen Hazel Iris Judith Klara Lotte Mabel Naomi Odette Penelope
Quinn Rebecca Sabine Thea Ursula Valerie Winnie Xenia Yvonne Zelda Amira Bianca Chiara Delphine Elif Farah Giulia Hana Imani Jasmine
Keiko Lucia Marisol Nadia Oksana Petra Rania Saskia Tatiana Uma Vivian Wanda Yasmin Zara Alfred Boris Cedric Dmitri Edwin Floyd Gilbert
Howard Isaac Jasper Klaus Lorenzo Marcus Neville Orlando Percy Quentin Rupert Stefan Tobias Ulrich Vincent Wilbur Xavier Yusuf Zachary
Abdul Bjorn Cormac Dario Emre Farid Gustav Hiro Igor Javier Kenji Luca Mehmet Nikolai Oleg Pedro Rafael Santiago Takeshi Umberto Viktor
Wei Yannick Zoltan Barnaby Clementine Rosalind Ferdinand Josephine Maximilian Charlotte Christopher Elizabeth Alexander Stephanie
Benjamin Samantha Nathaniel Gabriella Sebastian Veronica Dominic Florence Harold Matilda Leonard Priscilla Randolph Smith Jones Kowalski
Mueller Garcia Rossi Novak Kim Park Wang Sato Silva Okoro Patel Singh Cohen Larsen Moreau""".split()

COLOUR_NAMES = "red blue green yellow orange purple pink brown black white grey silver golden".split()
OBJECTS = """ball key book hat lamp bell map boat drum kite ring box cup stone coin flute basket mirror feather
blanket scarf bag shell rope""".split()
FOODS = "bread soup cake apples berries nuts honey cheese pears cookies pancakes plums".split()
LIST_WORDS = """apple pear plum cherry bread milk cheese egg cup plate spoon fork table chair lamp bed dog cat cow
horse bird fish tree flower grass leaf sun moon star cloud rain snow river lake hill road car bus train ship book pen
paper letter hat shoe coat ring door window house roof king queen boy girl baker farmer red blue green yellow one two
three four""".split()
