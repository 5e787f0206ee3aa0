"""Tiny models that see, as a service gets them, and what transformers says of the same prompts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from helpers.seeing_reference import Reference
from helpers.tiled_reference import TiledReference
from helpers.tiny_seeing import KINDS, make_seeing_model
from helpers.tiny_vl import IMAGE, image_text, make_tiny_vl, write_vl_tokenizer
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.models.vision import load_tower
from lightllm_rs.tokenizer import TextTokenizer, load_tokenizer
from lightllm_rs.vision import Geometry, open_geometry

QWEN_TOKENS = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"

Content = list[dict[str, Any]]


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that no other seed gives."""
    random = np.random.default_rng((seed, width, height))
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def png(picture: Image.Image) -> bytes:
    """Its file."""
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    """A `data:` URL."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_part(picture: Image.Image | bytes) -> dict[str, Any]:
    """A content part of a chat."""
    data = picture if isinstance(picture, bytes) else png(picture)
    return {"type": "image_url", "image_url": {"url": data_url(data)}}


def text_part(text: str) -> dict[str, Any]:
    """A content part of a chat."""
    return {"type": "text", "text": text}


def make_seeing_folder(folder: Path, kind: str) -> Path:
    """A complete folder of any family."""
    if kind not in KINDS:
        return make_tiny_vl(folder, kind)
    make_seeing_model(folder, kind)
    write_vl_tokenizer(folder, QWEN_TOKENS, QWEN_IMAGE)
    return folder


def place_of_image(kind: str) -> str:
    """What stands for an image in a prompt that no chat template made."""
    return QWEN_IMAGE if kind in KINDS else image_text(kind)


@dataclass(frozen=True)
class Yardstick:
    """transformers' view of a folder of `make_seeing_folder`."""

    folder: Path
    kind: str

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        return load_tokenizer(self.folder, None, None)

    @cached_property
    def geometry(self) -> Geometry:
        geometry = open_geometry(Checkpoint(self.folder, "tiny"))
        assert geometry is not None
        return geometry

    @cached_property
    def _logits(self) -> Callable[[list[int], Sequence[Image.Image]], Tensor]:
        if self.kind in KINDS:
            return Reference.of(self.folder, self.kind).logits
        return _other_logits(self.folder, self.geometry)

    def ids(self, prompt: str, pictures: Sequence[Image.Image]) -> list[int]:
        """Token ids of a prompt with a place for each picture; a picture's tokens are all IMAGE."""
        found: list[int] = []
        following = iter(pictures)
        for token in self.tokenizer.encode(prompt, add_special_tokens=False):
            if token != self.geometry.placeholder:
                found.append(token)
                continue
            picture = next(following)
            found += self.geometry.before
            found += [IMAGE] * self.geometry.shape(*picture.size).tokens
            found += self.geometry.after
        return found

    def chat(self, parts: Sequence[str | Image.Image]) -> tuple[str, list[Image.Image]]:
        """The prompt of a chat of one message, and its pictures."""
        content: Content = [text_part(part) if isinstance(part, str) else {"type": "image"} for part in parts]
        assert self.tokenizer.chat_template is not None
        prompt = self.tokenizer.chat_template.render([{"role": "user", "content": content}])
        return prompt, [part for part in parts if not isinstance(part, str)]

    def logprobs(self, ids: list[int], pictures: Sequence[Image.Image]) -> Tensor:
        """Of the token after `ids`: float32 [vocab]."""
        return self._logits(ids, pictures)[-1].log_softmax(-1)


def _other_logits(folder: Path, geometry: Geometry) -> Callable[[list[int], Sequence[Image.Image]], Tensor]:
    tower = load_tower(Checkpoint(folder, "tiny"), geometry, dtype=torch.float32, device=torch.device("cpu"))
    return TiledReference(folder, tower).logits
