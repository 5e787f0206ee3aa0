"""A cache manager's place taken by a test: what a visual server asks of a `CacheClient`, in one process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import msgspec
import numpy as np

from lightllm_rs.cache import CacheGone, CacheTimeout
from lightllm_rs.messages.recipe import Recipe


class MemoryLease:
    """An image that is to be encoded.

    Attributes:
        abandoned: nobody waits for it any more, as the test says.
        ended, let_go: its features are there, or can't be; the visual server has heard that it is abandoned.
    """

    def __init__(self, data: bytes, feature_len: int, pixels: int, recipe: bytes) -> None:
        self.data, self.features = np.frombuffer(data, np.uint8), bytearray(feature_len)
        self.feature_len, self.pixels, self.recipe = feature_len, pixels, recipe
        self.ended, self.let_go = threading.Event(), threading.Event()
        self.abandoned = False
        self.error: str | None = None


class MemoryCache:
    """Gives out images in order.

    Attributes:
        taken: numbers of images of each take that gave any.
        out, most_out: images that are given out and not answered yet, now and at most.
        closed: by its user.
    """

    def __init__(self) -> None:
        self._waiting: deque[MemoryLease] = deque()
        self._news = threading.Condition()
        self._dead = self.closed = False
        self.taken: list[int] = []
        self.out = self.most_out = 0

    def put(self, data: bytes, feature_len: int, recipe: Recipe | bytes, pixels: int = 1) -> MemoryLease:
        """A written image."""
        coded = recipe if isinstance(recipe, bytes) else msgspec.msgpack.encode(recipe)
        lease = MemoryLease(data, feature_len, pixels, coded)
        with self._news:
            self._waiting.append(lease)
            self._news.notify_all()
        return lease

    def die(self) -> None:
        """Every call fails from now on."""
        with self._news:
            self._dead = True
            self._news.notify_all()

    def keep(self, leases: Sequence[MemoryLease]) -> list[bool]:
        with self._news:
            self._check()
            for lease in leases:
                assert not lease.let_go.is_set(), "its lease has ended"
                if lease.abandoned:
                    self.out -= 1
                    lease.let_go.set()
            return [not lease.abandoned for lease in leases]

    def take(self, max_items: int, max_pixels: int, max_original_pixels: int, timeout: float) -> list[MemoryLease]:
        with self._news:
            came = self._news.wait_for(lambda: self._waiting or self._dead, timeout)
            self._check()
            if not came:
                raise CacheTimeout("nothing to encode")
            found: list[MemoryLease] = []
            while self._waiting and len(found) < max_items:
                if found and sum(lease.pixels for lease in found) + self._waiting[0].pixels > max_pixels:
                    break
                found.append(self._waiting.popleft())
            if found:
                self.taken.append(len(found))
                self.out += len(found)
                self.most_out = max(self.most_out, self.out)
            return found

    def publish_features(self, leases: Sequence[MemoryLease]) -> None:
        with self._news:
            self._check()
            for lease in leases:
                self.out -= 1
                lease.ended.set()

    def fail(self, lease: MemoryLease, message: str) -> None:
        with self._news:
            self._check()
            self.out -= 1
            lease.error = message
            lease.ended.set()

    def close(self) -> None:
        self.closed = True

    def _check(self) -> None:
        if self._dead:
            raise CacheGone("the cache manager is gone")
