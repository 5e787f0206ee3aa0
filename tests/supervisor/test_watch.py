"""When a visual server hangs, and when one that died is tried again; on clocks of their own."""

from __future__ import annotations

import math

import pytest

from lightllm_rs.messages.control import Beat
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.comebacks import Comebacks
from lightllm_rs.supervisor.restarts import BackOff
from lightllm_rs.supervisor.watch import Watch, limit_of


def watched(limit: float = 30.0) -> Watch:
    watch = Watch(limit)
    watch.begin("visual-0")
    watch.hanging(1000.0)
    return watch


def test_silence_is_a_hang_after_the_limit() -> None:
    watch = watched()
    for second in range(1, 100):
        watch.beat("visual-0", Beat(busy=False, progress=0))
        assert watch.hanging(1000.0 + second) == []
    for second in range(100, 128):
        assert watch.hanging(1000.0 + second) == []
    assert watch.hanging(1128.0) == [("visual-0", "has said nothing for 30 s")]
    watch.forget("visual-0")
    assert watch.hanging(1200.0) == []
    assert watch.due() == math.inf


def test_images_without_progress_are_a_hang_after_the_limit_and_idle_time_is_none() -> None:
    watch = watched()
    for second in range(1, 100):
        watch.beat("visual-0", Beat(busy=False, progress=7))
        assert watch.hanging(1000.0 + second) == []
    for second in range(100, 129):
        watch.beat("visual-0", Beat(busy=True, progress=7))
        assert watch.hanging(1000.0 + second) == []
    watch.beat("visual-0", Beat(busy=True, progress=7))
    assert watch.hanging(1129.0) == [("visual-0", "has made no progress with its images for 30 s")]


def test_a_batch_that_takes_long_is_no_hang_as_long_as_it_gets_on() -> None:
    watch = watched()
    for second in range(1, 1000):
        watch.beat("visual-0", Beat(busy=True, progress=second // 20))  # a block of the tower in 20 s
        assert watch.hanging(1000.0 + second) == []


def test_time_in_which_the_supervisor_stood_still_does_not_count() -> None:
    watch = watched()
    for hour in range(1, 10):
        assert watch.hanging(1000.0 + 3600.0 * hour) == []


def test_words_of_those_that_are_not_watched_are_nothing() -> None:
    watch = watched()
    watch.beat("visual-9", Beat(busy=True, progress=1))
    assert watch.hanging(1001.0) == []


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (ServeSettings(), 60.0),
        (ServeSettings(image_wait_timeout=600.0), 300.0),
        (ServeSettings(image_wait_timeout=5.0), 10.0),
        (ServeSettings(visual_stall_seconds=3.0), 3.0),
    ],
)
def test_the_limit_is_half_of_what_requests_wait(settings: ServeSettings, limit: float) -> None:
    assert limit_of(settings) == limit


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_minute_of_service() -> None:
    back_off = BackOff()
    assert [back_off.pause(0.0) for _ in range(10)] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert [back_off.pause(59.0) for _ in range(2000)] == [60.0] * 2000
    assert [back_off.pause(served) for served in (60.0, 1.0, 1.0)] == [0.0, 1.0, 2.0]


def test_tries_come_in_their_time() -> None:
    comebacks = Comebacks()
    start = ChildStart(
        process="visual-0",
        run_dir="",
        settings=ServeSettings(),
        model_path="",
        model_name="",
        device="cpu",
        supervisor=1,
    )
    assert comebacks.due() == math.inf
    assert comebacks.died(start, 100.0, now=5.0) == 0.0
    assert comebacks.next_try("visual-0") is None, "it is back in a moment"
    assert comebacks.take_due(5.0) == [start]
    assert comebacks.died(start, 1.0, now=6.0) == 1.0
    assert (comebacks.due(), comebacks.next_try("visual-0")) == (7.0, 7.0)
    assert comebacks.take_due(6.9) == []
    assert comebacks.take_due(7.0) == [start]
    assert (comebacks.due(), comebacks.next_try("visual-0")) == (math.inf, 7.0), "it is not there yet"
    comebacks.ready("visual-0")
    assert comebacks.next_try("visual-0") is None
