"""What the config of a model that sees says beside that of its language model."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import CheckpointError


@dataclass(frozen=True)
class MRope:
    """Rotary positions of three axes (time, row, column), each of which turns its part of the frequencies.

    sections: frequencies of each axis; together half a head.
    interleaved: the axes take turns (Qwen3-VL: t h w t h w ..., time alone at the end), rather than stand one after the
        other.

    Source: Qwen2-VL (https://arxiv.org/abs/2409.12191, section 2.1), Qwen3-VL's report.
    """

    sections: tuple[int, int, int]
    interleaved: bool = False

    def axes(self) -> list[int]:
        """The axis of each frequency."""
        if not self.interleaved:
            return [axis for axis, count in enumerate(self.sections) for _ in range(count)]
        axes = [0] * sum(self.sections)
        for axis in (1, 2):
            for index in range(axis, 3 * self.sections[axis], 3):
                axes[index] = axis
        return axes

    def check(self, head_dim: int) -> None:
        """Raises `CheckpointError` if the sections are not those of a head of so many dimensions."""
        half = head_dim // 2
        last = max(3 * self.sections[axis] - 3 + axis for axis in (1, 2))
        if sum(self.sections) != half or (self.interleaved and last >= half):
            raise CheckpointError(f"mrope_section {list(self.sections)} does not fit a head of {head_dim}")


@dataclass(frozen=True)
class VisionConfig:
    """Base of what each family adds.

    image_token: id that the chat template puts where an image belongs.
    deep_stack: levels of features that are added after the first layers of the language model, beside the one that
        stands in place of embeddings.
    """

    image_token: int
    deep_stack: int = 0

    def check(self, hidden: int) -> None:
        """Raises `CheckpointError` if the features are not as wide as the language model, `hidden`."""

    def width(self, hidden: int) -> int:
        """Numbers of one image token's features, all levels side by side."""
        return hidden * (1 + self.deep_stack)
