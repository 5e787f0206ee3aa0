"""The cache manager and the visual servers, which only a model that sees has."""

from __future__ import annotations

from pathlib import Path

from lightllm_rs.messages.control import CacheDown, CacheUp, Holds, Measure, SupervisorMessage
from lightllm_rs.messages.sockets import endpoint
from lightllm_rs.process.start import ChildStart
from lightllm_rs.supervisor.child_process import ChildProcess
from lightllm_rs.supervisor.fleet import Fleet
from lightllm_rs.supervisor.roster import Roster
from lightllm_rs.supervisor.run_dir import remove_arenas

USERS = ("http", "visual", "backend")
"""Packages whose processes talk to the cache manager."""


class Images:
    """Tells the others which cache manager there is, and backends when the towers have taken their memory.

    Each cache manager has an epoch of its own: a socket and an arena that no process of an older one looks at.
    """

    def __init__(self, roster: Roster, fleet: Fleet) -> None:
        self._roster, self._fleet = roster, fleet
        self._epoch = 0
        self._up = False
        self._held: dict[str, int] = {}  # device memory of the visual servers, by their names
        self._waiting: set[str] = set()  # backends that want to measure

    def starts(self) -> list[ChildStart]:
        """All processes of images: none for a model of text."""
        return self._roster.images(self._epoch)

    def again(self, dead: ChildStart) -> ChildStart:
        """The start of what replaces a dead process that can be started again alone."""
        if dead.package != "cache_manager":
            return dead
        self._epoch += 1
        return self._roster.cache(self._epoch)

    def ready(self, child: ChildProcess) -> None:
        """A child of any kind is ready."""
        if child.start.package == "cache_manager":
            self._up = True
            self._tell(self._cache_up())
        elif self._up and child.start.package in USERS:
            self._fleet.send(child, self._cache_up())
        self._let_measure()

    def lost(self, child: ChildProcess) -> None:
        """A child of any kind has died."""
        self._waiting.discard(child.name)
        self._held.pop(child.name, None)
        if child.start.package == "cache_manager":
            self._up = False
            self._tell(CacheDown())
            remove_arenas(Path(child.start.run_dir), child.start.epoch)

    def holds(self, child: ChildProcess, message: Holds) -> None:
        """A visual server has taken its memory."""
        self._held[child.name] = message.bytes
        self._let_measure()

    def may_measure(self, child: ChildProcess) -> None:
        """A backend asks whether it may measure free memory."""
        self._waiting.add(child.name)
        self._let_measure()

    def _let_measure(self) -> None:
        for name in list(self._waiting):
            rank = self._fleet.children[name]
            on_its_gpu = [start.process for start in self.starts() if start.gpu == rank.start.rank]
            if all(process in self._held for process in on_its_gpu):
                self._waiting.discard(name)
                self._fleet.send(rank, Measure(sum(self._held[process] for process in on_its_gpu)))

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
