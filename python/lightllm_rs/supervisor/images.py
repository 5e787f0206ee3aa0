"""The cache manager and the visual servers, which only a model that sees has."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from lightllm_rs.messages.control import (
    Beat,
    CacheDown,
    CacheUp,
    ChildMessage,
    Holds,
    ImagesDown,
    ImagesUp,
    MayMeasure,
    Measure,
    SupervisorMessage,
)
from lightllm_rs.messages.sockets import endpoint
from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.child_process import ChildProcess
from lightllm_rs.supervisor.comebacks import Comebacks
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.fleet import Fleet
from lightllm_rs.supervisor.reporter import Reporter
from lightllm_rs.supervisor.roster import Roster
from lightllm_rs.supervisor.run_dir import remove_arenas
from lightllm_rs.supervisor.watch import Watch, limit_of

USERS = ("http", "visual", "backend")
"""Packages whose processes talk to the cache manager."""

log = logging.getLogger(__name__)


class Images:
    """Starts these processes again for as long as the service lasts, which can serve text without them; tells the
    others which cache manager there is, and backends when the towers have taken their memory.

    Each cache manager has an epoch of its own: a socket and an arena that no process of an older one looks at.
    """

    def __init__(self, roster: Roster, fleet: Fleet, reporter: Reporter) -> None:
        self._roster, self._fleet, self._reporter = roster, fleet, reporter
        self._comebacks = Comebacks()
        self._watch = Watch(limit_of(roster.supervisor.settings))
        self._epoch = 0
        self._up = False
        self._down_until: float | None = None  # the next try, while no image can be encoded
        self._held: dict[str, int] = {}  # device memory of the visual servers, by their names
        self._needs: dict[str, int] = {}  # the same, also of those that are not there
        self._waiting: set[str] = set()  # backends that want to measure

    def starts(self) -> list[ChildStart]:
        """All processes of images: none for a model of text."""
        return self._roster.images(self._epoch)

    def has(self, child: ChildProcess) -> bool:
        """Whether it is one of these processes."""
        return child.start.package in ("cache_manager", "visual")

    def ready(self, child: ChildProcess) -> None:
        """A child of any kind is ready."""
        if child.start.package == "http" and self._down_until is not None:
            self._fleet.send(child, self._images_down(self._down_until))
        if child.start.package == "visual":
            self._watch.begin(child.name)
        self._comebacks.ready(child.name)
        if child.start.package == "cache_manager":
            self._up = True
            self._tell(self._cache_up())
        elif self._up and child.start.package in USERS:
            self._fleet.send(child, self._cache_up())
        self._let_measure()
        self._tell_whether_down()

    def hear(self, child: ChildProcess, message: ChildMessage) -> None:
        """What concerns these processes and their memory."""
        if isinstance(message, Beat):
            self._watch.beat(child.name, message)
        elif isinstance(message, Holds):
            self._held[child.name] = self._needs[child.name] = message.bytes
            self._let_measure()
        elif isinstance(message, MayMeasure):
            self._waiting.add(child.name)
            self._let_measure()

    # Deaths.

    def lost(self, child: ChildProcess) -> None:
        """A child of any kind has died."""
        self._watch.forget(child.name)
        self._waiting.discard(child.name)
        self._held.pop(child.name, None)
        if child.start.package == "cache_manager":
            self._up = False
            self._tell(CacheDown())
            remove_arenas(Path(child.start.run_dir), child.start.epoch)

    def start_again(self, child: ChildProcess, why: str) -> None:
        """One of these processes has died while the service runs: plans its return."""
        now = time.monotonic()
        start = child.start
        if start.package == "cache_manager":
            self._epoch += 1
            start = self._roster.cache(self._epoch)
        self._plan(start, why, child.served(now), now)

    def _plan(self, start: ChildStart, why: str, served: float, now: float) -> None:
        pause = self._comebacks.died(start, served, now)
        log.error("%s; starting it again%s", why, f" in {pause:.0f} s" if pause else "")
        self._let_measure()
        self._tell_whether_down()

    def due(self) -> float:
        """When to `look` next."""
        return min(self._comebacks.due(), self._watch.due())

    def look(self, now: float) -> None:
        """Starts those whose time has come, and kills those that hang: what they hold goes back with their death."""
        for start in self._comebacks.take_due(now):
            self._reporter.restarted(start.process)
            try:
                self._fleet.spawn(start)
            except ServiceError as error:
                self._plan(start, str(error), 0.0, now)
        if now < self._watch.due():
            return
        for name, why in self._watch.hanging(now):
            self._watch.forget(name)
            log.error("%s %s and is killed", name, why)
            child = self._fleet.children[name]
            child.kill()
            child.doomed = False  # its death is a failure like any other

    # What the others are told.

    def _let_measure(self) -> None:
        for name in list(self._waiting):
            rank = self._fleet.children[name]
            on_its_gpu = [start.process for start in self._roster.visual() if start.gpu == rank.start.rank]
            # Text does not wait for one that may never come back; it only leaves its memory alone.
            missing = [process for process in on_its_gpu if self._comebacks.next_try(process) is not None]
            there = [process for process in on_its_gpu if process in self._held and process not in missing]
            if len(there) + len(missing) == len(on_its_gpu):
                self._waiting.discard(name)
                held = sum(self._held[process] for process in there)
                needed = sum(self._needs.get(process, 0) for process in missing)
                self._fleet.send(rank, Measure(held, needed))

    def _tell_whether_down(self) -> None:
        """Tells HTTP processes and health server when images become impossible, and when they are possible again."""
        cache = self._comebacks.next_try("cache")
        visual = [self._comebacks.next_try(start.process) for start in self._roster.visual()]
        needed = [] if cache is None else [cache]
        tries = [at for at in visual if at is not None]
        if tries and len(tries) == len(visual):  # one is enough
            needed.append(min(tries))
        down_until = max(needed, default=None)
        if down_until == self._down_until:
            return
        self._down_until = down_until
        self._reporter.images("" if down_until is None else "processes of images die again and again")
        news = ImagesUp() if down_until is None else self._images_down(down_until)
        for child in self._users():
            if child.start.package == "http":
                self._fleet.send(child, news)

    def _images_down(self, until: float) -> ImagesDown:
        return ImagesDown(max(0.0, until - time.monotonic()))

    def _cache_up(self) -> CacheUp:
        return CacheUp(self._epoch, endpoint(self._roster.supervisor.run_dir, f"cache-{self._epoch}"))

    def _users(self) -> list[ChildProcess]:
        return [
            child
            for child in self._fleet.children.values()
            if child.start.package in USERS and child.ready is not None and not child.doomed
        ]

    def _tell(self, message: SupervisorMessage) -> None:
        for child in self._users():
            self._fleet.send(child, message)
