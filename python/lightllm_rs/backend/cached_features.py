"""Features of pictures out of the image cache, for one rank."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from lightllm_rs.backend.image_features import ImageError, ImageFeatures
from lightllm_rs.cache import CacheClient, CacheError
from lightllm_rs.messages.images import IMAGE_GONE

log = logging.getLogger(__name__)


SECONDS = 1.0
"""A cache manager that does not answer for so long must not hold up requests without pictures any longer."""


class CachedFeatures(ImageFeatures):
    """Copies features to the device, straight out of the shared memory, and gives them back at once.

    Args:
        endpoint: of a cache manager. When that dies, nothing can be had until there is another one of these.
        process: name of this rank's process.
        dtype: of the model, and so of the features.
    """

    def __init__(self, endpoint: str, process: str, dtype: torch.dtype, device: torch.device) -> None:
        self._endpoint, self._process = endpoint, process
        self._dtype, self._device = dtype, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._client: CacheClient | None = None
        self._connect()

    def fetch(self, keys: Sequence[bytes], tokens: Sequence[int], width: int) -> list[Tensor | ImageError]:
        client = self._client or self._connect()
        if client is None:
            return [ImageError(IMAGE_GONE)] * len(keys)
        try:
            leases = client.lease(keys, timeout=SECONDS)
        except CacheError as error:
            log.warning("pictures could not be read: %s", error)
            return [ImageError(IMAGE_GONE)] * len(keys)
        found: list[Tensor | ImageError] = []
        try:
            for lease, rows in zip(leases, tokens, strict=True):
                if lease is None:
                    found.append(ImageError(IMAGE_GONE))
                    continue
                shared = torch.frombuffer(lease.features_unguarded, dtype=self._dtype).view(rows, width)
                found.append(self._copied(shared))
        finally:  # the device may have no room
            client.release([lease for lease in leases if lease is not None])
        return found

    def _copied(self, shared: Tensor) -> Tensor:
        """On the device; all is read when this returns.

        On a GPU by a stream of its own: in that of the steps, a copy of memory that is not pinned waits until the step
        that runs is done, and the next one would be launched only then.
        """
        if self._stream is None:
            return shared.clone()
        steps = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = torch.empty_like(shared, device=self._device).copy_(shared)
        steps.wait_stream(self._stream)
        copied.record_stream(steps)
        return copied

    def _connect(self) -> CacheClient | None:
        try:
            self._client = CacheClient(self._endpoint, self._process, timeout=SECONDS)
        except CacheError as error:  # it has died since: the supervisor says so, and then which is the next
            log.warning("the cache manager does not answer: %s", error)
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
