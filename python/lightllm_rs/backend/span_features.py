"""Features of pictures on the device, from the first step that needs them to the last."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lightllm_rs.backend.image_features import ImageError, ImageFeatures
from lightllm_rs.backend.image_tokens import ImageTokens, SpanPart


class SpanFeatures:
    """What rows of pictures take in place of embeddings. A picture whose tokens several steps compute is fetched once.

    width: numbers of a row of features.
    """

    def __init__(self, source: ImageFeatures, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.source, self.width = source, width
        self._dtype, self._device = dtype, device
        self._held: dict[tuple[int, int], Tensor | ImageError] = {}

    def forget(self, slots: Iterable[int]) -> None:
        """The requests of these slots are gone."""
        if self._held:
            gone = set(slots)
            self._held = {place: held for place, held in self._held.items() if place[0] not in gone}

    def room(self, tokens: int) -> Tensor:
        """[tokens, width], zeros: where the features of a captured step go."""
        return torch.zeros((tokens, self.width), dtype=self._dtype, device=self._device)

    def rows(self, images: ImageTokens) -> tuple[Tensor, dict[int, str]]:
        """Features [N, width] of a step's tokens, and the rows that fail, with the reasons; theirs are zero."""
        self._fetch([part for part in images.parts if place_of(part) not in self._held])
        found: list[Tensor] = []
        errors: dict[int, str] = {}
        for part in images.parts:
            features = self._held[place_of(part)]
            if isinstance(features, ImageError):
                errors[part.row] = features.message
                features = torch.zeros((1, self.width), dtype=self._dtype, device=self._device)
                features = features.expand(part.span.tokens, -1)
            found.append(features[part.first : part.last])
            if part.finishes:
                del self._held[place_of(part)]
        return found[0] if len(found) == 1 else torch.cat(found), errors

    def _fetch(self, parts: list[SpanPart]) -> None:
        if not parts:
            return
        tokens = {part.span.key: part.span.tokens for part in parts}
        fetched = self.source.fetch(list(tokens), list(tokens.values()), self.width)
        for key, features in zip(tokens, fetched, strict=True):
            if isinstance(features, Tensor):
                shape, wanted = tuple(features.shape), (tokens[key], self.width)
                assert shape == wanted, f"an image has features of {shape}, not {wanted}"
        by_key = dict(zip(tokens, fetched, strict=True))
        self._held.update({place_of(part): by_key[part.span.key] for part in parts})


def place_of(part: SpanPart) -> tuple[int, int]:
    return part.slot, part.span.start
