"""A visual server that dies of pictures of one size, as one with a fault would; in place of `lightllm_rs.process`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from lightllm_rs.messages.recipe import recipe_decoder
from lightllm_rs.process.entry import main

DEADLY = (66, 33)
"""Width and height."""


def prepare(self: Any, item: Any, *others: Any) -> Any:
    """`Encoder.prepare`, with the fault."""
    recipe = recipe_decoder.decode(item.recipe)
    if (recipe.width, recipe.height) == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, item, *others)


if __name__ == "__main__":
    from lightllm_rs.visual.encoder import Encoder

    whole = Encoder.prepare
    Encoder.prepare = prepare  # type: ignore[method-assign]
    sys.exit(main())
