"""Chrome traces of chosen steps of a backend without a service around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lightllm_rs.backend.base import ModelBackend
from lightllm_rs.profile.steps import Steps
from lightllm_rs.profile.timeline import Timeline, read_timeline
from lightllm_rs.settings import SettingsError

_SHAPE = re.compile(r"(?:(\d{1,6})x(\d{1,8}))?(?:\+(\d{1,8}))?")

DEFAULT_SHAPES = "1x256,64x1024,32x600+256,+4096"
TRACE_STEPS = "2:12"
"""Steps of each shape that are recorded if nobody says which."""


@dataclass(frozen=True)
class Shape:
    """A kind of step.

    Attributes:
        rows: decode rows.
        context: tokens that each of them attends to.
        prefill: prompt tokens beside them.
    """

    rows: int
    context: int
    prefill: int

    @property
    def name(self) -> str:
        """As the flag has it, and the stem of its file: `32x600+256`."""
        return (f"{self.rows}x{self.context}" if self.rows else "") + (f"+{self.prefill}" if self.prefill else "")


def shapes_of(text: str) -> list[Shape]:
    """Shapes of `--trace-shapes`: ROWSxCONTEXT, ROWSxCONTEXT+PREFILL or +PREFILL. Raises SettingsError."""
    found = []
    for part in text.split(","):
        match = _SHAPE.fullmatch(part.strip())
        shape = Shape(*(int(group or 0) for group in match.groups())) if match else Shape(0, 0, 0)
        if not shape.rows + shape.prefill or (shape.rows and not shape.context):
            raise SettingsError(
                f"--trace-shapes: {part!r} is no kind of step: write ROWSxCONTEXT, ROWSxCONTEXT+PREFILL or +PREFILL"
            )
        found.append(shape)
    return found


class Tracer:
    """Records steps of one kind after the other, two of them under way at a time, as a server has them.

    Args:
        backend: its model is loaded.
        step_tokens: most tokens of one step.
        device: "cuda" or "cpu".
    """

    def __init__(self, backend: ModelBackend, step_tokens: int, device: str) -> None:
        self._steps, self._room = Steps(backend), backend.capacity
        self._step_tokens, self._device = step_tokens, device

    def record(self, shape: Shape, first: int, last: int, path: Path) -> Timeline:
        """Writes the trace of steps `first` to `last` (excluded).

        Raises SettingsError where the backend has no room for the shape, and OSError where the file cannot be written.
        """
        from lightllm_rs.backend.trace import Recording  # torch takes seconds to import

        self._check(shape, last)
        steps = self._steps
        steps.hold(shape.rows, max(shape.context, 1), last)
        for _ in range(first):
            steps.launch(shape.prefill).outcome()
        recording = Recording(self._device)
        under_way = steps.launch(shape.prefill)
        for _ in range(first + 1, last):
            following = steps.launch(shape.prefill)
            under_way.outcome()
            under_way = following
        under_way.outcome()
        recording.save(path)
        steps.hold(0, 1, 0)
        return read_timeline(path)

    def _check(self, shape: Shape, last: int) -> None:
        fits = self._steps.fits(shape.prefill, shape.rows, max(shape.context, 1), last)
        fits = fits and shape.prefill <= self._room.context and shape.rows < self._room.slots
        if not fits or shape.rows + shape.prefill > self._step_tokens:
            raise SettingsError(f"--trace-shapes: there is no room for {shape.name}: ask for fewer rows or tokens")
