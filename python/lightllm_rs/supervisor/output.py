"""What a child writes to its standard output and error."""

from __future__ import annotations

import os
import sys
from collections import deque

KEPT_LINES = 20
MAX_LINE = 4096


class Output:
    """The reading end of a child's pipe: passes all on to our standard error, and keeps the last lines.

    Attributes:
        fd: to be watched; read with `forward`.
        ended: nothing more can come.
    """

    def __init__(self) -> None:
        self.fd, self.child_end = os.pipe()
        os.set_blocking(self.fd, False)
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._rest = b""
        self.ended = False

    def started(self) -> None:
        """The child has its end, or there is none; ours is closed."""
        os.close(self.child_end)

    def forward(self) -> bool:
        """Passes on what is there. False at the end of the pipe."""
        while True:
            try:
                data = os.read(self.fd, 65_536)
            except BlockingIOError:
                return True
            if not data:
                self.ended = True
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._rest = self._rest[-MAX_LINE:]
            self._lines.extend(line[:MAX_LINE].decode(errors="replace") for line in lines)
            try:
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
            except OSError:
                pass  # nobody reads our standard error any more; the service goes on

    def last_line(self) -> str:
        """The last line with anything on it."""
        lines = [*self._lines, self._rest.decode(errors="replace")]
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Passes on the rest and closes the pipe."""
        if not self.ended:
            self.forward()
        os.close(self.fd)
