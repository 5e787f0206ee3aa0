"""A visual server whose device never ends with pictures of one size, in place of `lightllm_rs.process`."""

from __future__ import annotations

import sys
import threading
from typing import Any

from lightllm_rs.messages.recipe import recipe_decoder
from lightllm_rs.process.entry import main

STUCK = (66, 33)
"""Width and height."""


def encode(self: Any, items: Any, inputs: Any) -> Any:
    """`Encoder.encode`, with the fault."""
    recipes = [recipe_decoder.decode(item.recipe) for item in items]
    if STUCK in [(recipe.width, recipe.height) for recipe in recipes]:
        threading.Event().wait()
    return whole(self, items, inputs)


if __name__ == "__main__":
    from lightllm_rs.visual.encoder import Encoder

    whole = Encoder.encode
    Encoder.encode = encode  # type: ignore[method-assign]
    sys.exit(main())
