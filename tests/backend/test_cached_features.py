"""Features out of an image cache that answers, that has lost some, and that is gone; on a GPU too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from lightllm_rs.backend import cached_features
from lightllm_rs.backend.cached_features import CachedFeatures
from lightllm_rs.backend.image_features import ImageError
from lightllm_rs.cache import CacheError
from lightllm_rs.messages.images import IMAGE_GONE

WIDTH = 24


class FakeLease:
    def __init__(self, features: torch.Tensor) -> None:
        self.features_unguarded = bytearray(features.contiguous().view(torch.uint8).numpy().tobytes())
        self.released = False


class FakeClient:
    """Knows features by key; gone: raises instead."""

    def __init__(self) -> None:
        self.leases: dict[bytes, FakeLease] = {}
        self.gone = self.closed = False

    def lease(self, keys: Sequence[bytes], timeout: float) -> list[FakeLease | None]:
        if self.gone:
            raise CacheError("it is gone")
        return [self.leases.get(key) for key in keys]

    def release(self, leases: Sequence[FakeLease]) -> None:
        for lease in leases:
            assert not lease.released
            lease.released = True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()
    monkeypatch.setattr(cached_features, "CacheClient", lambda *_, **__: made)
    return made


def source_on(device: str) -> Any:
    return CachedFeatures("ipc://nowhere", "backend-0", torch.bfloat16, torch.device(device))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_what_is_there_and_what_is_not(client: FakeClient, device: str) -> None:
    made = {bytes([n]) * 16: torch.randn(n + 3, WIDTH).to(torch.bfloat16) for n in range(3)}
    client.leases = {key: FakeLease(features) for key, features in made.items()}
    keys = [*made, b"?" * 16]
    source = source_on(device)
    busy = [torch.ones(2000, 2000, device=device) @ torch.ones(2000, 2000, device=device) for _ in range(5)]
    found = source.fetch(keys, [3, 4, 5, 6], WIDTH)
    assert found[3] == ImageError(IMAGE_GONE)
    for features, wanted in zip(found, made.values(), strict=False):
        assert isinstance(features, torch.Tensor)
        assert features.device.type == device
        assert torch.equal(features.cpu(), wanted)
    assert all(lease.released for lease in client.leases.values())
    for lease in client.leases.values():
        lease.features_unguarded[:] = bytes(len(lease.features_unguarded))
    assert torch.equal(found[0].cpu(), made[keys[0]]), "a copy"
    assert busy[0].sum() > 0
    source.close()
    assert client.closed


def test_a_device_without_room_gives_the_leases_back(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [bytes([n]) * 16 for n in range(2)]
    client.leases = {key: FakeLease(torch.zeros(3, WIDTH, dtype=torch.bfloat16)) for key in keys}

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(CachedFeatures, "_copied", refuse)
    with pytest.raises(torch.OutOfMemoryError):
        source_on("cpu").fetch(keys, [3, 3], WIDTH)
    assert all(lease.released for lease in client.leases.values())


def test_a_cache_that_is_gone(client: FakeClient) -> None:
    source = source_on("cpu")
    client.gone = True
    assert source.fetch([b"a" * 16, b"b" * 16], [1, 2], WIDTH) == [ImageError(IMAGE_GONE)] * 2


def test_a_cache_that_was_never_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CacheError("nobody there")

    monkeypatch.setattr(cached_features, "CacheClient", refuse)
    source = source_on("cpu")
    assert source.fetch([b"a" * 16], [1], WIDTH) == [ImageError(IMAGE_GONE)]
    source.close()
