"""Both ways to read a picture: its header, and its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from lightllm_rs.media import MediaError, decode, inspect

OPTIONS = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
ODD_METADATA = pytest.mark.filterwarnings("ignore:::PIL")


def both(data: bytes, **options: object) -> np.ndarray:
    """The pixels [height, width, 3]; header and pixels must agree."""
    picture = inspect(data, **options)  # type: ignore[arg-type]
    image = decode(data, **options)  # type: ignore[arg-type]
    assert image.mode == "RGB"
    assert image.size == (picture.width, picture.height)
    return np.asarray(image)


def refused(data: bytes, says: str) -> None:
    for read in (inspect, decode):
        with pytest.raises(MediaError, match=says):
            read(data)


def near(first: np.ndarray, second: np.ndarray, most: int = 12) -> bool:
    return int(np.abs(first.astype(int) - second.astype(int)).max()) <= most
