"""How much is decoded at a time, and in which order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import pytest

from lightllm_rs.visual.decode_room import DecodeRoom

SECONDS = 60.0


def run(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive(), "it waits for room that it does not get"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_inside_fits_or_is_alone(seed: int) -> None:
    draw, room, lock = random.Random(seed), DecodeRoom(100), threading.Lock()
    inside: list[int] = []
    wrong: list[list[int]] = []

    def work(sizes: list[int]) -> None:
        for size in sizes:
            with room.of(size):
                with lock:
                    inside.append(size)
                    if sum(inside) > 100 and len(inside) > 1:
                        wrong.append(list(inside))
                time.sleep(0)  # others get their chance
                with lock:
                    inside.remove(size)

    plans = [[draw.choice([1, 7, 30, 60, 100, 500]) for _ in range(50)] for _ in range(8)]
    run([lambda plan=plan: work(plan) for plan in plans])  # type: ignore[misc]
    assert wrong == []
    with room.of(100):
        assert inside == []


def test_room_is_given_in_the_order_of_asking() -> None:
    """So a large one waits for those before it alone, however many small ones come."""
    room, order = DecodeRoom(100), list[int]()
    sizes = [90, 5, 500, 5, 101, 100]

    def work(number: int) -> None:
        with room.of(sizes[number]):
            order.append(number)

    with room.of(100):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(sizes))]
        deadline = time.monotonic() + SECONDS
        for number, thread in enumerate(threads):
            thread.start()
            while len(room._asking) <= number:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join(SECONDS)
    assert [number for number in order if number != 1] == [0, 2, 3, 4, 5]
    assert order.index(1) < 2, "the second fits beside the first"


def test_an_error_gives_room_back() -> None:
    room = DecodeRoom(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="no image"), room.of(7):
            raise ValueError("no image")
