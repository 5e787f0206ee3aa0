"""What makes the service healthy and ready. Times are seconds of any one clock that never goes back."""

from __future__ import annotations

from lightllm_rs.messages.telemetry import Heartbeat

ROUTER_SILENCE_SECONDS = 10.0
"""The router says it lives every other second at least, whatever the backends do: after so much silence it hangs."""

CACHE_SILENCE_SECONDS = 10.0
"""So does the cache manager, for a model that sees."""

NOT_READY = {
    "loading": "the model is loading",
    "draining": "the service is stopping",
    "down": "router and backends are starting again",
}


class Work:
    """Whether a process that has work gets on with it."""

    def __init__(self, now: float) -> None:
        self.heard = now
        self._progress: int | None = None
        self._stuck_since: float | None = None  # work in flight and no progress since then

    def heartbeat(self, beat: Heartbeat, now: float) -> None:
        """The process lives."""
        self.heard = now
        if not beat.busy:
            self._stuck_since = None
        elif self._stuck_since is None or beat.progress != self._progress:
            self._stuck_since = now
        self._progress = beat.progress

    def stuck_seconds(self, now: float) -> float:
        """How long it has had work and made no progress."""
        return 0.0 if self._stuck_since is None else now - self._stuck_since


class HealthState:
    """Fed with what arrives; asked at any time.

    Args:
        stall_seconds: work in flight for so long without progress is unhealthy.
        now: time of its making.
    """

    def __init__(self, stall_seconds: float, now: float) -> None:
        self._stall_seconds = stall_seconds
        self._state = "loading"
        self._router = Work(now)  # heard of, or the begin of its duty
        self._visual: dict[str, Work] = {}
        self._cache: Work | None = None  # once heard of
        self._images = ""
        self._full = False

    def heartbeat(self, beat: Heartbeat, now: float) -> None:
        """A process lives. The router counts for the health, cache manager and visual servers for what is degraded."""
        if beat.process == "router":
            self._router.heartbeat(beat, now)
            self._full = beat.full
        elif beat.process.startswith("visual-"):
            self._visual.setdefault(beat.process, Work(now)).heartbeat(beat, now)
        elif beat.process == "cache":
            self._cache = Work(now)

    def service(self, state: str, now: float, images: str = "") -> None:
        """The supervisor's word: "loading", "serving", "draining" or "down"; and why no image can be encoded."""
        self._images = images
        if state != self._state and state == "serving":
            self._router, self._full = Work(now), False
            self._visual.clear()
        self._state = state

    def healthy(self, now: float) -> tuple[bool, str]:
        """Whether what runs makes progress, and if not, why. A service that loads or starts again is healthy."""
        if self._state not in ("serving", "draining"):
            return True, ""
        silent = now - self._router.heard
        if silent > ROUTER_SILENCE_SECONDS:
            return False, f"the router has been silent for {silent:.0f} s"
        stuck = self._router.stuck_seconds(now)
        if stuck >= self._stall_seconds:
            return False, f"requests are running and no step has ended for {stuck:.0f} s"
        return True, ""

    def degraded(self, now: float) -> str:
        """What does not work of a service that serves text; "" if all does. Images are no reason to end or to avoid
        such a service: requests with images get a 503 of their own."""
        if self._images:
            return self._images
        silent = 0.0 if self._cache is None else now - self._cache.heard
        if silent > CACHE_SILENCE_SECONDS:
            return f"the cache manager has been silent for {silent:.0f} s"
        for process, work in self._visual.items():
            stuck = max(now - work.heard, work.stuck_seconds(now))  # it says once a second that it lives
            if stuck >= self._stall_seconds:
                return f"{process} has not encoded an image, or not said that it lives, for {stuck:.0f} s"
        return ""

    def ready(self, now: float) -> tuple[bool, str]:
        """Whether a request sent now would be taken, and if not, why."""
        if self._state != "serving":
            return False, NOT_READY.get(self._state, f"the service is {self._state}")
        if self._full:
            return False, "the queue is full"
        return self.healthy(now)
