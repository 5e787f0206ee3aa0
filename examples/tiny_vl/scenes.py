"""Scenes: coloured shapes and digits on a coloured ground. A scene is a function of its random numbers alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

SIDE = 128  # pixels of a picture; all places and radii are in these
COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "black", "white", "gray")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
DIGITS = "0123456789"
PLACES = ("top left", "top right", "bottom left", "bottom right", "center")
KINDS = ("one", "several", "digit", "beside", "above")

# No picture of the training has these: what is right about them was not learnt by heart.
UNSEEN = {("red", "star"), ("green", "circle"), ("blue", "cross"), ("yellow", "ring"), ("purple", "square")}


@dataclass(frozen=True)
class Thing:
    """shape: one of SHAPES, or a digit. turn: in radians."""

    shape: str
    colour: str
    centre: tuple[float, float]
    radius: float
    turn: float


@dataclass(frozen=True)
class Scene:
    """The first of two things is the left or the upper one.

    kind: one of KINDS. noise: seed of the shades.
    size, place: of a single thing, "small" or "large" and one of PLACES; "" otherwise.
    """

    kind: str
    ground: str
    things: tuple[Thing, ...]
    noise: int
    size: str = ""
    place: str = ""


def make_scene(random: Random, kind: str, *, unseen: bool = False) -> Scene:
    """unseen: whether the first thing is one of UNSEEN; nothing else ever is."""
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES if ((colour, shape) in UNSEEN) == unseen]
    colour, shape = random.choice(pairs)
    ground = random.choice([other for other in COLOURS if other != colour])
    noise = random.randrange(1 << 30)
    if kind == "one":
        size, place = random.choice(("small", "large")), random.choice(PLACES)
        radius = random.uniform(13, 17) if size == "small" else random.uniform(25, 31)
        return Scene(kind, ground, (thing(random, shape, colour, where(place), radius),), noise, size, place)
    if kind == "several":
        quarters = random.sample(PLACES[:4], random.randint(2, 4))
        things = [thing(random, shape, colour, where(place), random.uniform(15, 23)) for place in quarters]
        return Scene(kind, ground, tuple(things), noise)
    if kind == "digit":
        digit = thing(random, random.choice(DIGITS), colour, where("center"), random.uniform(34, 50), shake=10)
        return Scene(kind, ground, (digit,), noise)
    seen = [(other, form) for other in COLOURS for form in SHAPES if (other, form) not in UNSEEN]
    other = random.choice([pair for pair in seen if pair[0] not in (colour, ground) and pair[1] != shape])
    centres = ((34.0, 64.0), (94.0, 64.0)) if kind == "beside" else ((64.0, 34.0), (64.0, 94.0))
    first = thing(random, shape, colour, centres[0], random.uniform(18, 25))
    last = thing(random, other[1], other[0], centres[1], random.uniform(18, 25))
    return Scene(kind, ground, (first, last), noise)


def thing(
    random: Random, shape: str, colour: str, centre: tuple[float, float], radius: float, shake: float = 6
) -> Thing:
    """Near `centre`, at most `shake` pixels off in each direction, and turned a little."""
    x, y = (middle + random.uniform(-shake, shake) for middle in centre)
    return Thing(shape, colour, (x, y), radius, random.uniform(-0.25, 0.25))


def where(place: str) -> tuple[float, float]:
    """The middle of a place."""
    if place == "center":
        return SIDE / 2, SIDE / 2
    return 36 if "left" in place else SIDE - 36, 36 if "top" in place else SIDE - 36
