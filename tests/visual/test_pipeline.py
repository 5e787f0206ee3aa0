"""Images to features, in batches: against the tower itself, and with images that are no good."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from helpers.memory_cache import MemoryCache
from helpers.seeing_service import noise, png
from helpers.tiny_vl import make_tiny_vl
from helpers.visual_pipeline import SECONDS, FailingTower, GatedTower, features_of, pipeline, put, wait
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.messages.recipe import Recipe
from lightllm_rs.models.vision import Pixels, VisionTower, load_tower
from lightllm_rs.settings import ServeSettings
from lightllm_rs.vision import ImageShape, open_geometry
from lightllm_rs.visual.encoder import Encoder
from lightllm_rs.visual.figures import Figures
from lightllm_rs.visual.main import count_blocks, threads
from lightllm_rs.visual.pipeline import Bounds, Pipeline
from lightllm_rs.visual.warm import warm, worst_sizes


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> VisionTower:
    checkpoint = Checkpoint(make_tiny_vl(tmp_path_factory.mktemp("vl") / "m", "internvl"), "tiny")
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    return load_tower(checkpoint, geometry, dtype=torch.float32, device=torch.device("cpu"))


def test_features_are_those_of_the_tower(tower: VisionTower) -> None:
    pictures = [png(noise(30 + 7 * number, 90 - 5 * number, number)) for number in range(9)]
    cache = MemoryCache()
    leases = [put(cache, tower, data) for data in pictures]
    with pipeline(tower, cache) as figures:
        wait(leases)
    assert (figures.progress, figures.under_way) == (9 + len(cache.taken), 0)
    for data, lease in zip(pictures, leases, strict=True):
        assert lease.error is None
        got = np.frombuffer(lease.features, np.float32).reshape(-1, tower.width)
        np.testing.assert_allclose(got, features_of(tower, data), rtol=1e-4, atol=1e-5)


def test_bad_images_are_refused_alone(tower: VisionTower) -> None:
    good = png(noise(40, 40, 1))
    cache = MemoryCache()
    leases = [
        put(cache, tower, good),
        put(cache, tower, good, stored=good[: len(good) // 2]),  # cut off
        put(cache, tower, good, recipe=Recipe("auto", 41, 40, 1640)),  # another size than its header said
        put(cache, tower, good, recipe=b"\xc1"),
        put(cache, tower, good, feature_len=4),
        put(cache, tower, good),
    ]
    with pipeline(tower, cache):
        wait(leases)
    assert [lease.error is None for lease in leases] == [True, False, False, False, False, True]
    assert leases[1].error == "the image is damaged or cut off"
    assert {lease.error for lease in leases[2:5]} == {"the image cannot be processed"}


@pytest.mark.parametrize(
    ("error", "message"),
    [(torch.OutOfMemoryError, "does not fit the memory"), (RuntimeError, "cannot be processed")],
)
def test_a_batch_that_fails_is_done_image_by_image(tower: VisionTower, error: type[RuntimeError], message: str) -> None:
    cache = MemoryCache()
    small = [put(cache, tower, png(noise(28, 28, number))) for number in range(3)]
    large = put(cache, tower, png(noise(56, 28)))
    with pipeline(FailingTower(tower, error), cache):
        wait([*small, large])
    assert [lease.error for lease in small] == [None] * 3
    assert large.error is not None
    assert message in large.error


def test_features_that_are_not_finite_are_not_published(tower: VisionTower) -> None:
    class NanTower(FailingTower):
        def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
            features = self._tower.encode(inputs)
            features[0][0, 0] = float("nan")
            return features

    cache = MemoryCache()
    leases = [put(cache, tower, png(noise(28, 28, number))) for number in range(2)]
    with pipeline(NanTower(tower, RuntimeError), cache, Bounds(2, 1 << 20, 1 << 20)):
        wait(leases)
    assert leases[0].error == "the features of the image are not finite numbers"
    assert leases[1].error is None


def test_one_batch_is_decoded_while_another_is_encoded_and_no_more_are_taken(tower: VisionTower) -> None:
    gated, cache = GatedTower(tower), MemoryCache()
    leases = [put(cache, tower, png(noise(28, 28, number))) for number in range(8)]
    with pipeline(gated, cache, Bounds(2, 1 << 20, 1 << 20)):
        assert gated.inside.acquire(timeout=SECONDS)
        for _ in range(4):  # the batch on the device, and the one behind it
            assert gated.prepared.acquire(timeout=SECONDS)
        for _ in range(4):
            gated.gate.release()
        wait(leases)
    assert cache.taken == [2, 2, 2, 2]
    assert cache.most_out == 4


@pytest.mark.parametrize(("device", "pixels"), [("cpu", 1 << 20), ("cuda", 4 << 20)])
def test_bounds_are_settings(device: str, pixels: int) -> None:
    assert Bounds.of(ServeSettings(), device) == Bounds(32, pixels, 50_000_000)
    assert Bounds.of(ServeSettings(max_image_pixels=9), device).original_pixels == 9
    given = ServeSettings(visual_batch_size=3, visual_batch_pixels=5, visual_decode_pixels=7)
    assert Bounds.of(given, device) == Bounds(3, 5, 7)


def test_batches_keep_to_the_pixels(tower: VisionTower) -> None:
    cache = MemoryCache()
    one = tower.geometry.shape(28, 28).pixels
    leases = [put(cache, tower, png(noise(28, 28, number))) for number in range(7)]
    with pipeline(tower, cache, Bounds(100, 3 * one, 1 << 20)):
        wait(leases)
    assert cache.taken == [3, 3, 1]


def test_it_ends_quietly_with_its_cache_manager(tower: VisionTower) -> None:
    cache = MemoryCache()
    with pipeline(tower, cache):
        lease = put(cache, tower, png(noise(28, 28)))
        wait([lease])
        cache.die()


def test_nothing_is_under_way_after_the_end_of_a_cache_manager(tower: VisionTower) -> None:
    """Or /health would say for ever that the visual server stands still."""
    gated, cache = GatedTower(tower), MemoryCache()
    for number in range(6):
        put(cache, tower, png(noise(28, 28, number)))
    with pipeline(gated, cache, Bounds(2, 1 << 20, 1 << 20)) as figures:
        assert gated.inside.acquire(timeout=SECONDS)
        for _ in range(4):  # one batch is on the device, and one waits behind it
            assert gated.prepared.acquire(timeout=SECONDS)
        assert figures.under_way == 4
        cache.die()
        for _ in range(4):
            gated.gate.release()
    assert figures.under_way == 0


def test_its_end_does_not_wait_for_a_batch_and_is_told(tower: VisionTower) -> None:
    """Whoever waits for the end could not say that the process lives."""
    gated, cache, over = GatedTower(tower), MemoryCache(), threading.Event()
    put(cache, tower, png(noise(28, 28)))
    with ThreadPoolExecutor(1) as workers:
        encoder, bounds = Encoder(gated, 1_000_000, 1 << 20), Bounds(8, 1 << 20, 1 << 20)  # type: ignore[arg-type]
        running = Pipeline(cache, encoder, workers, bounds, Figures(), lambda _: None, over.set)  # type: ignore[arg-type]
        assert gated.inside.acquire(timeout=SECONDS)
        running.end()
        assert not running.is_over
        gated.gate.release()
        assert over.wait(SECONDS)
        assert running.is_over
        running.close()


def test_each_block_of_the_tower_is_progress(tower: VisionTower) -> None:
    cache, figures = MemoryCache(), Figures()
    lease = put(cache, tower, png(noise(28, 28)))
    count_blocks(tower, figures)
    with pipeline(tower, cache):
        wait([lease])
    blocks = [block for listed in tower.modules() if isinstance(listed, torch.nn.ModuleList) for block in listed]
    assert figures.progress >= len(blocks) > 0


def test_what_breaks_a_device_ends_the_process(tower: VisionTower) -> None:
    class DeadTower(FailingTower):
        def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
            raise AssertionError("the device is gone")

    cache, errors = MemoryCache(), []
    told = threading.Event()

    class Told(list[BaseException]):
        def append(self, error: BaseException) -> None:
            super().append(error)
            told.set()

    errors = Told()
    with pipeline(DeadTower(tower, RuntimeError), cache, errors=errors):
        put(cache, tower, png(noise(28, 28)))
        assert told.wait(SECONDS)
    assert [str(error) for error in errors] == ["the device is gone"]


def test_the_largest_batches(tower: VisionTower) -> None:
    geometry = tower.geometry
    bounds = Bounds(8, 10 * geometry.shape(28, 28).pixels, 1 << 20)
    (large, one), (many, count) = worst_sizes(geometry, 1_000_000, bounds)
    largest = max(geometry.shape(side, 1_000_000 // side).pixels for side in range(50, 20_000, 50))
    assert (geometry.shape(*large).pixels, one) == (largest, 1)
    assert 8 >= count > 1
    assert geometry.shape(*many).pixels * count <= bounds.pixels


def test_the_largest_batches_are_encoded(tower: VisionTower) -> None:
    """Without a picture of that size, in the form in which one comes."""
    batches = []

    class Watched(FailingTower):
        def blank(self, shape: ImageShape) -> Pixels:
            return tower.blank(shape)

        def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
            batches.append(inputs)
            return tower.encode(inputs)

    geometry = tower.geometry
    bounds = Bounds(8, 10 * geometry.shape(28, 28).pixels, 1 << 20)
    wanted = [(count, geometry.shape(*size).pixels) for size, count in worst_sizes(geometry, 1_000_000, bounds)]
    said = warm(Watched(tower, RuntimeError), 1_000_000, bounds)  # type: ignore[arg-type]
    assert [(len(batch), batch[0].shape.pixels) for batch in batches] == wanted
    assert said == ", ".join(f"{count} x {pixels} pixels" for count, pixels in wanted)


def test_an_image_that_nobody_waits_for_is_neither_decoded_nor_encoded(tower: VisionTower) -> None:
    gated, cache = GatedTower(tower), MemoryCache()
    leases = [put(cache, tower, png(noise(28, 28, number))) for number in range(3)]
    with pipeline(gated, cache, Bounds(1, 1 << 20, 1 << 20)) as figures:
        assert gated.inside.acquire(timeout=SECONDS)  # the first is on the device
        for _ in range(2):  # the second is decoded, too
            assert gated.prepared.acquire(timeout=SECONDS)
        for lease in leases[1:]:
            lease.abandoned = True
        gated.gate.release()
        for lease in leases[1:]:
            assert lease.let_go.wait(SECONDS), "an image was not let go"
        wait(leases[:1])
        deadline = time.monotonic() + SECONDS
        while figures.progress < 5:  # two were decoded, one was encoded, and two were let go
            assert time.monotonic() < deadline, "what was let go does not count as done"
            time.sleep(0.001)
    assert not gated.prepared.acquire(blocking=False), "the third was decoded"
    assert not gated.inside.acquire(blocking=False), "only the first was to be encoded"
    assert (cache.out, figures.under_way) == (0, 0)


def test_originals_are_decoded_as_there_is_room_for_their_pixels(tower: VisionTower) -> None:
    class Counting(FailingTower):
        """Counts what is decoded at a time; all that there is room for come in before one goes."""

        def __init__(self, tower: VisionTower) -> None:
            super().__init__(tower, RuntimeError)
            self.together = threading.Barrier(2)
            self.inside = self.most = 0
            self.lock = threading.Lock()

        def pixels(self, picture: Any) -> Pixels:
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.together.wait(SECONDS)
            with self.lock:
                self.inside -= 1
            return self._tower.pixels(picture)

        def encode(self, inputs: Sequence[Pixels]) -> list[torch.Tensor]:
            return self._tower.encode(inputs)

    cache, counting = MemoryCache(), Counting(tower)
    leases = [put(cache, tower, png(noise(20, 20, number))) for number in range(6)]
    with pipeline(counting, cache, at_a_time=2 * 400 + 399):
        wait(leases)
    assert [lease.error for lease in leases] == [None] * 6
    assert counting.most == 2


@pytest.mark.parametrize(("cores", "wanted"), [(1, 1), (2, 2), (16, 16), (192, 16)])
def test_a_machine_of_many_cores_does_not_decode_more_than_its_memory_holds(cores: int, wanted: int) -> None:
    assert threads(cores) == wanted
