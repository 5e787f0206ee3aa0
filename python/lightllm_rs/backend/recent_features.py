"""Features of pictures that were needed a short while ago."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lightllm_rs.backend.feature_ring import FeatureRing
from lightllm_rs.backend.image_features import ImageError, ImageFeatures


class RecentFeatures(ImageFeatures):
    """Takes features from a ring on the device where it has them, so that a picture which is shown again, in another
    prompt, costs neither a question to the cache manager nor a copy by the host.

    A key names features for good: it is a digest of the picture, of all else that they depend on, and of the salt. So
    no lease guards what is in the ring, and it outlives cache managers.

    Args:
        source: of what is not there.
    """

    def __init__(self, source: ImageFeatures, ring: FeatureRing) -> None:
        self._source, self._ring = source, ring

    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        found: list[Tensor | ImageError | None] = [self._ring.take(key) for key in keys]
        missing = [number for number, features in enumerate(found) if features is None]
        if missing:
            asked = [keys[number] for number in missing]
            fetched = self._source.fetch(asked, [tokens[number] for number in missing], width)
            for number, features in zip(missing, fetched, strict=True):
                found[number] = features
                if isinstance(features, Tensor):
                    self._ring.keep(keys[number], features)
        return [features for features in found if features is not None]

    def close(self) -> None:
        self._source.close()
