"""The sum that sizes the KV cache."""

from __future__ import annotations

import pytest

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.host import available_memory, usable_cores
from lightllm_rs.backend.kv_size import Room, cache_pages
from lightllm_rs.backend.options import BackendOptions

GIB = 1 << 30
PAGE = 1 << 20  # bytes of a page of 16 tokens


def options(**changes: object) -> BackendOptions:
    return BackendOptions("model", **{"device": "cuda", "mem_fraction": 0.9, **changes})


def test_a_gpu_gives_what_is_left() -> None:
    room = Room(free=60 * GIB, total=80 * GIB, working=2 * GIB, weights=15 * GIB, graphs=GIB)
    pages, detail = cache_pages(options(), room, PAGE, 16, 4096)
    assert pages == int(80 * GIB * 0.9 - 20 * GIB - 3 * GIB) // PAGE
    sum_of_all = "15.00 weights + 5.00 context and other processes + 2.00 a step + 1.00 graphs + 49.00 KV cache"
    assert detail == f"{pages * 16} tokens; 80.00 GiB = {sum_of_all} + 8.00 kept free"


def test_features_of_pictures_stand_in_the_sum() -> None:
    room = Room(free=60 * GIB, total=80 * GIB, working=2 * GIB, weights=15 * GIB, graphs=GIB, features=GIB // 4)
    pages, detail = cache_pages(options(), room, PAGE, 16, 4096)
    assert pages == int(80 * GIB * 0.9 - 20 * GIB - 3 * GIB - GIB // 4) // PAGE
    sum_of_all = "15.00 weights + 5.00 context and other processes + 2.00 a step + 1.00 graphs + 0.25 last pictures"
    assert detail == f"{pages * 16} tokens; 80.00 GiB = {sum_of_all} + 48.75 KV cache + 8.00 kept free"
    with pytest.raises(BackendError, match=r"3.00 GiB for steps - 0.25 GiB for pictures;"):
        cache_pages(options(kv_cache_tokens=10_000_000), room, PAGE, 16, 4096)


def test_a_cpu_gives_sixteen_contexts_or_a_quarter() -> None:
    roomy = Room(free=1000 * GIB, total=1000 * GIB, working=GIB)
    assert cache_pages(options(device="cpu"), roomy, PAGE, 16, 4096)[0] == 16 * 4096 // 16
    tight = Room(free=9 * GIB, total=9 * GIB, working=GIB)
    assert cache_pages(options(device="cpu"), tight, PAGE, 16, 4096)[0] == 2 * GIB // PAGE
    assert cache_pages(options(device="cpu"), tight, PAGE, 16, 65536)[0] == 65536 // 16


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_given_size_is_taken_if_it_fits(device: str) -> None:
    room = Room(free=60 * GIB, total=80 * GIB, working=2 * GIB)
    assert cache_pages(options(device=device, kv_cache_tokens=4100), room, PAGE, 16, 4096)[0] == 257
    with pytest.raises(BackendError, match=r"does not fit, there is room for .* lower --kv-cache-tokens"):
        cache_pages(options(device=device, kv_cache_tokens=10_000_000), room, PAGE, 16, 4096)
    with pytest.raises(BackendError, match="raise --kv-cache-tokens or lower --max-model-len"):
        cache_pages(options(device=device, kv_cache_tokens=4000), room, PAGE, 16, 4096)


@pytest.mark.parametrize(("device", "advice"), [("cpu", "--max-model-len$"), ("cuda", "or raise --mem-fraction$")])
def test_no_room_for_one_request(device: str, advice: str) -> None:
    room = Room(free=3 * GIB, total=80 * GIB, working=4 * GIB)
    with pytest.raises(BackendError, match=rf"a request of 4096 tokens does not fit .* {advice}") as error:
        cache_pages(options(device=device), room, PAGE, 16, 4096)
    assert "\n" not in str(error.value)


def test_this_machine_says_what_it_has() -> None:
    assert available_memory() > 1 << 20
    assert usable_cores() >= 1
