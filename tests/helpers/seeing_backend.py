"""A torch backend of a model that sees, driven by hand-made plans, with the features that its tower makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from helpers.plan_driver import Driver, with_settings
from helpers.tiny_seeing import IMAGE_TOKEN, VISION_END
from lightllm_rs.backend.image_features import ImageError, ImageFeatures
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.checkpoint import locate
from lightllm_rs.messages.frames import pack_f32, pack_u32
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.models.vision import load_tower
from lightllm_rs.vision import FIRST_SYNTHETIC, Expanded, ImageInput, expand, open_geometry

GONE = "gone"

SPECIAL = range(IMAGE_TOKEN, VISION_END + 1)
WORDS = with_settings(bias_ids=pack_u32(list(SPECIAL)), bias_values=pack_f32([-1e4] * len(SPECIAL)))
"""The likeliest token that is no image token: transformers would look for an image where a random model says one."""


class KnownFeatures(ImageFeatures):
    """Features by key; remembers what was asked for."""

    def __init__(self) -> None:
        self.by_key: dict[bytes, Tensor] = {}
        self.asked: list[list[bytes]] = []

    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        self.asked.append(list(keys))
        return [self.by_key[key] if key in self.by_key else ImageError(GONE) for key in keys]


@dataclass(frozen=True)
class Prompt:
    """Expanded ids; `plain` has the image token in place of synthetic ids, as transformers wants it."""

    expanded: Expanded
    plain: list[int]

    @property
    def ids(self) -> list[int]:
        return self.expanded.ids

    @property
    def spans(self) -> list[ImageSpan]:
        return [ImageSpan(span.start, span.tokens, span.key, span.grid, True) for span in self.expanded.spans]


class SeeingBackend:
    """`driver` drives the backend; `logits` are those of the rows that have emitted since they were last taken."""

    def __init__(self, folder: Path, device: str = "cpu", dtype: str = "float32", *, capture: bool = False) -> None:
        checkpoint = locate(str(folder))
        geometry = open_geometry(checkpoint)
        assert geometry is not None
        self.geometry = geometry
        self.backend = TorchBackend()
        options = BackendOptions(
            str(folder), kv_cache_tokens=8192, page_size=4, slots=8, threads=2, device=device, dtype=dtype, eager=True
        )
        self.backend.init_model(options, lambda *_: None)
        self.tower = load_tower(checkpoint, geometry, dtype=self.backend.dtype, device=self.backend.device)
        self.features = KnownFeatures()
        assert self.backend.images is not None
        self.backend.images.source = self.features
        self.recorded: list[Tensor] = []
        self.capture = capture
        self.reset()
        plain = self.backend.model.raw_logits

        def recording(hidden: Tensor) -> Tensor:
            found = plain(hidden)
            self.recorded.append(found.float().cpu().clone())
            return found

        self.backend.model.raw_logits = recording  # type: ignore[method-assign]

    def reset(self) -> None:
        """Forgets all requests."""
        vocab = self.backend.model.config.vocab
        self.backend.open(Capacity(pages=2048, page_size=4, slots=8, vocab=vocab, context=1024))
        if self.capture:
            self.backend.capture()
        self.driver = Driver(self.backend)
        self.features.asked.clear()
        self.recorded.clear()

    def prompt(self, ids: Sequence[int], pictures: Sequence[Image.Image]) -> Prompt:
        """`ids` with a placeholder for each picture; their features are ready from now on."""
        inputs = []
        for picture in pictures:
            key = blake2b(picture.tobytes() + repr(picture.size).encode(), digest_size=16).digest()
            if key not in self.features.by_key:
                with torch.inference_mode():
                    (self.features.by_key[key],) = self.tower.encode([self.tower.pixels(picture)])
            inputs.append(ImageInput(key, self.geometry.shape(*picture.size)))
        expanded = expand(ids, inputs, self.geometry)
        placeholder = self.geometry.placeholder
        return Prompt(expanded, [placeholder if token >= FIRST_SYNTHETIC else token for token in expanded.ids])

    def attach(
        self, slot: int, prompt: Prompt, prefix_pages: list[int] | None = None, sampling: Sampling = WORDS
    ) -> None:
        self.driver.attach(
            slot,
            prompt.ids,
            sampling,
            prefix_pages=prefix_pages,
            position_offset=prompt.expanded.position_offset,
            images=prompt.spans,
        )

    def logits(self) -> Tensor:
        """float32 [rows, vocab], of the emitting rows of the steps since the last call, in their order."""
        taken, self.recorded = self.recorded, []
        return torch.cat(taken)
