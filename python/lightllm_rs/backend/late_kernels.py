"""Says when a Triton kernel is compiled after the start: a step waits for it, for a second or so."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)


@dataclass
class LateKernels:
    """From `watch` on it notes and logs every kernel that Triton compiles in this process, or reads from its cache.

    Attributes:
        names: of those that came late, in order.
    """

    names: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Takes the place of whatever listens to Triton."""
        from triton import knobs

        knobs.compilation.listener = self.compiled

    def compiled(self, *, src: Any, times: Any, cache_hit: bool, **_: Any) -> None:
        """Triton has compiled `src`, or found it in its cache."""
        self.names.append(src.name)
        how = "read from Triton's cache" if cache_hit else "compiled"
        logger.warning(
            "the kernel %s was not there at the start: it was %s while a step waited, for %.0f ms",
            src.name,
            how,
            times.total / 1000,
        )
