"""Health and readiness over time."""

from __future__ import annotations

import pytest

from lightllm_rs.health.state import CACHE_SILENCE_SECONDS, ROUTER_SILENCE_SECONDS, HealthState
from lightllm_rs.messages.telemetry import Heartbeat


def serving(now: float = 0.0) -> HealthState:
    state = HealthState(stall_seconds=60.0, now=now)
    state.service("serving", now)
    return state


def beat(state: HealthState, now: float, busy: bool = False, progress: int = 0, full: bool = False) -> None:
    state.heartbeat(Heartbeat("router", busy, progress, full), now)


def test_a_loading_service_is_healthy_and_not_ready() -> None:
    state = HealthState(60.0, 0.0)
    assert state.healthy(10_000.0) == (True, "")
    assert state.ready(1.0) == (False, "the model is loading")


@pytest.mark.parametrize(("name", "word"), [("draining", "stopping"), ("down", "starting again")])
def test_only_a_serving_service_is_ready(name: str, word: str) -> None:
    state = serving()
    beat(state, 1.0)
    assert state.ready(1.5) == (True, "")
    state.service(name, 2.0)
    ready, reason = state.ready(2.5)
    assert not ready
    assert word in reason


def test_work_without_progress_is_unhealthy_after_the_limit() -> None:
    state = serving()
    for second in range(1, 200):
        beat(state, float(second), busy=True, progress=5)
        assert state.healthy(second)[0] == (second - 1 < 60), second
    assert "no step has ended for 198 s" in state.healthy(199.0)[1]
    beat(state, 200.0, busy=True, progress=6)
    assert state.healthy(200.0) == (True, "")
    assert state.ready(200.0) == (True, "")


def test_a_long_prefill_is_healthy_as_long_as_steps_end() -> None:
    state = serving()
    for second in range(1, 1000):
        beat(state, float(second), busy=True, progress=second // 50)
        assert state.healthy(float(second))[0]


def test_idle_time_does_not_count() -> None:
    state = serving()
    for second in range(1, 500):
        beat(state, float(second), busy=False, progress=5)
    assert state.healthy(499.0)[0]
    beat(state, 500.0, busy=True, progress=5)  # the first request after a long night
    assert state.healthy(559.0 - ROUTER_SILENCE_SECONDS)[0] is False  # only since nothing was heard
    for second in range(501, 560):
        beat(state, float(second), busy=True, progress=5)
    assert state.healthy(559.5)[0]
    beat(state, 560.0, busy=True, progress=5)
    assert not state.healthy(560.0)[0]


def test_a_silent_router_is_unhealthy() -> None:
    state = serving()
    beat(state, 1.0)
    assert state.healthy(1.0 + ROUTER_SILENCE_SECONDS)[0]
    healthy, reason = state.healthy(1.5 + ROUTER_SILENCE_SECONDS)
    assert not healthy
    assert "the router has been silent" in reason


def test_other_processes_say_nothing_about_the_work() -> None:
    state = serving()
    beat(state, 1.0)
    state.heartbeat(Heartbeat("backend-0", busy=True, progress=1, full=True), 9.0)
    assert state.ready(9.0) == (True, "")
    assert not state.healthy(12.0)[0]


def visual(state: HealthState, now: float, busy: bool, progress: int = 0) -> None:
    state.heartbeat(Heartbeat("visual-0", busy, progress), now)


def test_a_visual_server_that_encodes_nothing_degrades_a_healthy_service() -> None:
    state = serving()
    for second in range(1, 100):
        beat(state, float(second))
        visual(state, float(second), busy=True, progress=second // 50)
        assert state.degraded(float(second)) == ""
    for second in range(100, 120):
        beat(state, float(second))
        visual(state, float(second), busy=True, progress=1)
        assert (state.degraded(float(second)) == "") == (second - 50 < 60)
    assert "visual-0" in state.degraded(119.0)
    assert state.ready(119.0) == (True, ""), "text is served"
    visual(state, 120.0, busy=True, progress=2)
    assert state.degraded(120.0) == ""
    visual(state, 121.0, busy=False, progress=2)
    assert state.degraded(180.0) == ""
    assert state.degraded(181.0), "it is silent, as a stopped process is"
    state.service("down", 182.0)
    state.service("serving", 183.0)
    assert state.degraded(184.0) == ""


def test_a_silent_cache_manager_degrades_a_healthy_service() -> None:
    state = serving()
    state.heartbeat(Heartbeat("cache", busy=False, progress=0), 1.0)
    beat(state, 11.0)
    assert state.degraded(1.0 + CACHE_SILENCE_SECONDS) == ""
    assert "the cache manager has been silent for 11 s" in state.degraded(12.0)
    assert state.ready(12.0) == (True, ""), "text is served"
    state.service("down", 13.0)
    state.service("serving", 14.0)
    assert state.degraded(15.0), "a new engine does not wake it"
    state.heartbeat(Heartbeat("cache", busy=False, progress=0), 16.0)
    assert state.degraded(17.0) == ""


def test_a_model_of_text_needs_no_cache_manager() -> None:
    state = serving()
    beat(state, 99.0)
    assert state.degraded(100.0) == ""


def test_a_service_without_images_is_degraded_and_healthy() -> None:
    state = serving()
    state.service("serving", 1.0, images="processes of images die again and again")
    beat(state, 1.5, busy=True, progress=3)
    assert state.degraded(2.0) == "processes of images die again and again"
    assert state.ready(2.0) == (True, "")
    state.service("serving", 60.0)
    assert state.degraded(61.0) == ""
    assert not state.healthy(61.5)[0], "the same state again is no new start: the router is silent"


def test_a_full_queue_flips_ready_only() -> None:
    state = serving()
    beat(state, 1.0, full=True)
    assert state.ready(1.0) == (False, "the queue is full")
    assert state.healthy(1.0)[0]
    beat(state, 2.0)
    assert state.ready(2.0)[0]


def test_a_new_engine_starts_with_a_clean_slate() -> None:
    state = serving()
    beat(state, 1.0, busy=True, progress=3, full=True)
    state.service("down", 50.0)
    state.service("serving", 100.0)
    assert state.ready(105.0) == (True, "")
