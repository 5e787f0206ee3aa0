"""What the HTTP process knows of a model that sees: names of images, their places in prompts, sizes of features."""

from __future__ import annotations

import hashlib
import json

import msgspec

from lightllm_rs.cache import Want
from lightllm_rs.checkpoint import ModelConfig
from lightllm_rs.media import Picture
from lightllm_rs.messages.recipe import Recipe
from lightllm_rs.settings.dtype import dtype_name
from lightllm_rs.vision import Geometry, ImageShape

KEY_BYTES = 16
KEY_VERSION = b"llrs-image-2"
"""Changes when the same bytes and settings come to mean other features."""

ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


class ImageModel:
    """Args:
    geometry: of the model.
    config: of the model.
    dtype: `--dtype`.
    device: of the service.
    """

    def __init__(self, geometry: Geometry, config: ModelConfig, dtype: str, device: str) -> None:
        assert config.vision is not None, "only a model that sees has a geometry"
        self.geometry = geometry
        self._row_bytes = config.vision.width(config.hidden) * ITEM_BYTES[dtype_name(dtype, device)]
        self._settings = json.dumps(geometry.settings, sort_keys=True, separators=(",", ":")).encode()

    def key(self, picture: Picture, salt: str) -> bytes:
        """BLAKE2b of all that the features depend on, and of the salt: 16 bytes."""
        digest = hashlib.blake2b(digest_size=KEY_BYTES, person=KEY_VERSION)
        for part in (self._settings, salt.encode(), picture.detail.encode(), picture.digest):
            digest.update(len(part).to_bytes(8, "little"))  # so that no two lists of parts read the same
            digest.update(part)
        return digest.digest()

    def want(self, key: bytes, picture: Picture, shape: ImageShape) -> Want:
        """What the image cache is asked for."""
        recipe = Recipe(picture.detail, picture.width, picture.height, picture.original_pixels)
        return Want(
            key,
            len(picture.data),
            shape.tokens * self._row_bytes,
            pixels=shape.pixels,
            recipe=msgspec.msgpack.encode(recipe),
            original_pixels=picture.original_pixels,
        )
