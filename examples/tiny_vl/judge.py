"""Whether an answer is right, and how often a guess would be."""

from __future__ import annotations

from questions import NUMBERS, Question, plural
from scenes import COLOURS, DIGITS, PLACES, SHAPES

SIDES = ("left", "right", "top", "bottom")  # topics that ask for a colour and a shape
CORNERS = frozenset(("top", "bottom", "left", "right", "center"))
SIZES = frozenset(("small", "large"))
THINGS = frozenset((*COLOURS, *SHAPES))

# By topic: the words that tell something about it.
TELLING: dict[str, frozenset[str]] = {
    **dict.fromkeys(("color", "background"), frozenset(COLOURS)),
    "shape": frozenset(SHAPES),
    "size": SIZES,
    "place": CORNERS,
    **dict.fromkeys(("count", "digit"), frozenset((*NUMBERS, *DIGITS))),
    **dict.fromkeys(SIDES, THINGS),
    "caption": frozenset((*THINGS, *CORNERS, *SIZES, *NUMBERS, "above")),
}
# By topic: how many answers there are, so that a guess is right once in so many times. Captions: too many to count.
CHOICES = {
    **dict.fromkeys(("color", "background"), len(COLOURS)),
    "shape": len(SHAPES),
    "size": len(SIZES),
    "place": len(PLACES),
    "count": 3,
    "digit": len(DIGITS),
    **dict.fromkeys(SIDES, len(COLOURS) * len(SHAPES)),
}
SINGULARS = {plural(shape): shape for shape in SHAPES}


def right(question: Question, said: str) -> bool:
    """Whether an answer tells what the right one tells, that and nothing else, in whatever sentence."""
    return told(question.topic, said) == told(question.topic, question.answer)


def told(topic: str, text: str) -> list[str]:
    """The words of a text that tell something about the topic, in their order, shapes in the singular."""
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    return [word for word in (SINGULARS.get(word, word) for word in words) if word in TELLING[topic]]
