"""The words in which a picture's tokens speak to the language model: vectors, which begin as those of English words.

A scene is a sentence of SENTENCE words, the names of things to know each before what is known. As far as scenes of
several kinds have the same thing to tell, it stands in the same place.
"""

from __future__ import annotations

import torch
from questions import NUMBERS, spelt
from scenes import COLOURS, DIGITS, SHAPES, Scene
from tokenizers import Tokenizer
from torch import Tensor

Word = tuple[str, str]  # role, English
SENTENCE = 16
FILLERS = ("Look", "picture", "answer")  # the same in every sentence: room for what the answers have in common
NONE = ("key", "none")

ROLES: dict[str, tuple[str, ...]] = {
    "key": (
        "color",
        "shape",
        "digit",
        "left",
        "top",
        "background",
        "size",
        "place",
        "count",
        "right",
        "bottom",
        "none",
    ),
    "color": COLOURS,
    "shape": (*SHAPES, *NUMBERS),
    "background": COLOURS,
    "size": ("small", "large"),
    "row": ("top", "center", "bottom"),
    "column": ("left", "center", "right"),
    "count": NUMBERS[2:5],
    "other color": COLOURS,
    "other shape": SHAPES,
    "filler": FILLERS,
}
VOCABULARY: tuple[Word, ...] = tuple((role, english) for role, all_of_it in ROLES.items() for english in all_of_it)
INDEX = {word: index for index, word in enumerate(VOCABULARY)}


def sentence(scene: Scene) -> list[int]:
    """Indexes into VOCABULARY, SENTENCE of them."""
    first, last = scene.things[0], scene.things[-1]
    beginning = {"beside": "left", "above": "top"}.get(scene.kind, "color")
    what = "digit" if first.shape in DIGITS else "shape"
    words = [("filler", english) for english in FILLERS]
    words += [("key", beginning), ("color", first.colour), ("key", what), ("shape", spelt(first.shape))]
    words += [("key", "background"), ("background", scene.ground)]
    if scene.kind == "one":
        row, column = scene.place.split() if " " in scene.place else ("center", "center")
        words += [("key", "size"), ("size", scene.size), ("key", "place"), ("row", row), ("column", column)]
    elif scene.kind == "several":
        words += [("key", "count"), ("count", NUMBERS[len(scene.things)])]
    elif scene.kind in ("beside", "above"):
        words += [("key", "right" if scene.kind == "beside" else "bottom"), ("other color", last.colour)]
        words += [("key", "shape"), ("other shape", last.shape)]
    return [INDEX[word] for word in words] + [INDEX[NONE]] * (SENTENCE - len(words))


def english_vectors(tokenizer: Tokenizer, embeddings: Tensor) -> Tensor:
    """[VOCABULARY, hidden]: what the language model has for the words already."""
    ids = [tokenizer.encode(f" {english}").ids[0] for _, english in VOCABULARY]
    return embeddings.detach()[torch.tensor(ids)].float()
