"""Questions that can be asked of a scene, and their answers."""

from __future__ import annotations

from dataclasses import dataclass

from scenes import DIGITS, Scene, Thing

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# By topic: the wordings of the training, and behind them one that only the evaluation has.
WORDINGS = {
    "color": (
        "What color is it?",
        "What color is the object?",
        "Which color does the object have?",
        "Name the color of the object.",
        "What is the color?",
        "Tell me the color.",
        "Tell me which color the object has.",
    ),
    "shape": (
        "What shape is it?",
        "What shape is the object?",
        "Which shape do you see?",
        "Name the shape of the object.",
        "What is the shape?",
        "Tell me the shape.",
        "Tell me which shape the object has.",
    ),
    "size": (
        "Is it small or large?",
        "How big is the object?",
        "What size is it?",
        "Tell me the size.",
        "Is the object large or small?",
    ),
    "place": (
        "Where is it?",
        "Where in the picture is the object?",
        "In which corner is it?",
        "In which part of the picture is the object?",
    ),
    "background": (
        "What color is the background?",
        "Which color does the background have?",
        "Name the color of the background.",
        "What color is behind it?",
        "Tell me the background color.",
        "Tell me which color the background has.",
    ),
    "count": (
        "How many objects are there?",
        "How many objects do you see?",
        "How many are there?",
        "Tell me the number of objects.",
        "Count the objects.",
    ),
    "digit": (
        "Which digit is it?",
        "What digit do you see?",
        "What number is it?",
        "Tell me the digit.",
        "Read the digit.",
    ),
    "left": ("What is on the left?", "Which object is on the left?", "Name the left object.", "What is at the left?"),
    "right": (
        "What is on the right?",
        "Which object is on the right?",
        "Name the right object.",
        "What is at the right?",
    ),
    "top": ("What is at the top?", "Which object is at the top?", "Name the top object.", "What is on top?"),
    "bottom": (
        "What is at the bottom?",
        "Which object is at the bottom?",
        "Name the bottom object.",
        "What is on the bottom?",
    ),
    "caption": ("Describe the picture.", "What do you see?", "What is in the picture?", "What does the picture show?"),
}
TOPICS = {
    "one": ("color", "shape", "size", "place", "background", "caption"),
    "several": ("color", "shape", "count", "background", "caption"),
    "digit": ("color", "digit", "background", "caption"),
    "beside": ("left", "right", "background", "caption"),
    "above": ("top", "bottom", "background", "caption"),
}


@dataclass(frozen=True)
class Question:
    """`text` asks for the `topic` of a scene, and `answer` is right."""

    topic: str
    text: str
    answer: str


def questions(scene: Scene, wording: int) -> list[Question]:
    """One of each topic of the scene.

    wording: number of the one to take, of those of the training, in turn; -1 for the one that the training never has.
    """
    asked = []
    for topic in TOPICS[scene.kind]:
        *known, fresh = WORDINGS[topic]
        asked.append(Question(topic, fresh if wording < 0 else known[wording % len(known)], answer(scene, topic)))
    return asked


def answer(scene: Scene, topic: str) -> str:
    """What is right, as a sentence: a language model this small begins with "The" whatever it is asked."""
    first, last = scene.things[0], scene.things[-1]
    return {
        "color": f"The color is {first.colour}.",
        "shape": f"The shape is a {first.shape}.",
        "size": f"The object is {scene.size}.",
        "place": f"The object is at the {scene.place}.",
        "background": f"The background is {scene.ground}.",
        "count": f"There are {NUMBERS[len(scene.things)]} objects.",
        "digit": f"The digit is {spelt(first.shape)}.",
        "left": f"The object on the left is a {named(first)}.",
        "right": f"The object on the right is a {named(last)}.",
        "top": f"The object at the top is a {named(first)}.",
        "bottom": f"The object at the bottom is a {named(last)}.",
        "caption": f"The picture shows {caption(scene)}.",
    }[topic]


def caption(scene: Scene) -> str:
    """All that there is to see."""
    first, last = scene.things[0], scene.things[-1]
    shows = {
        "one": f"a {scene.size} {named(first)}",
        "several": f"{NUMBERS[len(scene.things)]} {first.colour} {plural(first.shape)}",
        "digit": f"the digit {spelt(first.shape)} in {first.colour}",
        "beside": f"a {named(first)} left of a {named(last)}",
        "above": f"a {named(first)} above a {named(last)}",
    }[scene.kind]
    at = f" at the {scene.place}" if scene.place else ""
    return f"{shows} on a {scene.ground} background{at}"


def named(thing: Thing) -> str:
    """As in "red circle"."""
    return f"{thing.colour} {thing.shape}"


def plural(shape: str) -> str:
    return "crosses" if shape == "cross" else shape + "s"


def spelt(shape: str) -> str:
    """A digit as a word, a shape as it is."""
    return NUMBERS[int(shape)] if shape in DIGITS else shape
