"""The names on the shelves: plain data, every title used once."""

from __future__ import annotations

from typing import NamedTuple


class Aisle(NamedTuple):
    """One aisle of the shop, with the stories that may begin in it."""

    name: str
    sequels: tuple[tuple[str, str], ...]
    """(first, what follows at once)."""
    echo: tuple[str, str]
    """(first, its refill some events later)."""
    fork: tuple[str, str, str]
    """(first, what follows after a short pause, what follows after a long one)."""
    shelf: tuple[str, ...]
    """Everything else, most popular first."""


def _shelf(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


AISLES = (
    Aisle(
        "cameras",
        (("Mirrorless camera", "Memory card"), ("Action camera", "Helmet mount")),
        ("Instant camera", "Instant film refill"),
        ("Disposable camera", "Same-day prints", "Photo album"),
        _shelf(
            "Tripod, Camera strap, Flash unit, Macro lens, Wide-angle lens, Lens cloth, Camera backpack, Light meter, "
            "Reflector, Battery grip, Remote shutter, Lens cap"
        ),
    ),
    Aisle(
        "kitchen",
        (("Pasta machine", "Durum flour"), ("Cast-iron pan", "Pan seasoning oil")),
        ("Water filter jug", "Filter cartridge refill"),
        ("Sourdough starter", "Proofing basket", "Bread knife"),
        _shelf(
            "Cutting board, Mixing bowl, Saucepan, Kitchen scale, Whisk, Measuring cups, Colander, Rolling pin, "
            "Spice rack, Oven gloves, Salad spinner, Chef's knife"
        ),
    ),
    Aisle(
        "books",
        (("Mystery novel, volume 1", "Mystery novel, volume 2"), ("Star atlas", "Red torch")),
        ("Puzzle magazine", "Puzzle magazine, next issue"),
        ("Language course", "Vocabulary cards", "Easy reader"),
        _shelf(
            "Travel guide, Graphic novel, Cookbook, Poetry collection, Science almanac, Picture book, History of maps, "
            "Book light, Bookmark set, Reading stand, Essay collection, Ruled notebook"
        ),
    ),
    Aisle(
        "garden",
        (("Lawn mower", "Mower blade"), ("Raised bed", "Potting soil")),
        ("Bird feeder", "Bird seed refill"),
        ("Tomato seedlings", "Watering can", "Tomato cage"),
        _shelf(
            "Garden hose, Hand trowel, Pruning shears, Rake, Wheelbarrow, Gardening gloves, Plant labels, Compost bin, "
            "Rose bush, Lavender pot, Hedge trimmer, Garden kneeler"
        ),
    ),
    Aisle(
        "cycling",
        (("Road bike", "Clip-in pedals"), ("Bike computer", "Cadence sensor")),
        ("Tubeless tyre", "Tyre sealant refill"),
        ("Bike chain", "Chain tool", "Chain lubricant"),
        _shelf(
            "Cycling helmet, Inner tube, Front light, Rear light, Bike lock, Bottle cage, Saddle bag, Cycling gloves, "
            "Floor pump, Mudguards, Bar tape, Rain cape"
        ),
    ),
    Aisle(
        "pets",
        (("Aquarium", "Aquarium heater"), ("Cat carrier", "Travel bowl")),
        ("Litter box", "Litter refill"),
        ("Puppy collar", "Training treats", "Large dog collar"),
        _shelf(
            "Dog lead, Squeaky toy, Scratching post, Feeding bowl, Cat tree, Pet brush, Dog bed, Hamster wheel, "
            "Fish food, Bird perch, Chew bone, Cat tunnel"
        ),
    ),
    Aisle(
        "camping",
        (("Two-person tent", "Ground sheet"), ("Headlamp", "Battery set")),
        ("Gas stove", "Gas canister refill"),
        ("Sleeping bag", "Compression sack", "Sleeping bag liner"),
        _shelf(
            "Sleeping mat, Water bottle, Camp chair, Folding table, Trekking poles, Compass, Cool box, Camp lantern, "
            "Rope, Insect net, Enamel mug, Dry bag"
        ),
    ),
    Aisle(
        "music",
        (("Electric guitar", "Guitar cable"), ("Turntable", "Record brush")),
        ("Clarinet", "Clarinet reed refill"),
        ("Ukulele", "Clip-on tuner", "Ukulele strings"),
        _shelf(
            "Headphones, Music stand, Metronome, Harmonica, Sheet music folder, Drum sticks, Practice pad, "
            "Guitar stand, Capo, Tambourine, Piano bench, Microphone"
        ),
    ),
    Aisle(
        "painting",
        (("Canvas roll", "Stretcher bars"), ("Oil paint set", "Linseed oil")),
        ("Refillable marker", "Marker ink refill"),
        ("Watercolour block", "Masking tape", "Fixative spray"),
        _shelf(
            "Sketchbook, Round brush, Flat brush, Easel, Palette, Charcoal sticks, Palette knife, Gesso, Acrylic set, "
            "Pastel box, Painting apron, Colour wheel"
        ),
    ),
    Aisle(
        "workshop",
        (("Cordless drill", "Drill bit set"), ("Angle grinder", "Cutting discs")),
        ("Glue gun", "Glue stick refill"),
        ("Workbench", "Bench vice", "Wood oil"),
        _shelf(
            "Claw hammer, Screwdriver set, Tape measure, Spirit level, Pliers, Hand saw, Sandpaper, Wood screws, "
            "Tool box, Work gloves, Clamp pair, Dust mask"
        ),
    ),
)

COFFEE_AISLE = "coffee corner"
MACHINES = _shelf(
    "Espresso machine, Drip coffee maker, Moka pot, French press, Vacuum brewer, Cold-brew tower, Pour-over stand, "
    "Coffee pod machine"
)
COFFEES = _shelf(
    "Sumatra beans, Kenya beans, Colombia beans, Ethiopia beans, Brazil beans, Guatemala beans, Peru beans, "
    "Java beans, Rwanda beans, Honduras beans, House blend, Decaf blend"
)

DESK_AISLE = "service desk"
REDEEM = "Redeem a pass"
PASSES_AND_REWARDS = (
    ("Bronze pass", "Bronze reward: tote bag"),
    ("Silver pass", "Silver reward: umbrella"),
    ("Gold pass", "Gold reward: wall clock"),
    ("Pearl pass", "Pearl reward: scarf"),
    ("Amber pass", "Amber reward: lantern"),
    ("Jade pass", "Jade reward: tea cup"),
    ("Ruby pass", "Ruby reward: candle"),
    ("Opal pass", "Opal reward: key ring"),
)
