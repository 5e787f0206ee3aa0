"""How much is decoded at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class DecodeRoom:
    """Bounds the pixels of the originals that threads decode at the same time: memory goes by them.

    Threads get room in the order in which they ask, so that none waits for ever. An image that is larger than all of
    the room goes alone.

    Args:
        pixels: of all originals that are decoded at a time.
    """

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._asking: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Room for an image of so many pixels; waits until there is."""
        turn, pixels = object(), min(pixels, self._all)
        with self._changed:
            self._asking.append(turn)
            self._changed.wait_for(lambda: self._asking[0] is turn and pixels <= self._free)
            self._asking.popleft()
            self._free -= pixels
            self._changed.notify_all()  # the next may fit too
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
