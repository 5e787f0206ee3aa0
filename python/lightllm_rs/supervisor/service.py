"""The life of one service: start, serve, recover, drain, stop."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable

from lightllm_rs.messages.control import (
    Drain,
    Drained,
    EngineDown,
    EngineUp,
    Ready,
    Stop,
    SupervisorMessage,
)
from lightllm_rs.messages.sockets import endpoint
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.child_process import ChildProcess
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.fleet import Died, Event, Fleet, Said, Signalled
from lightllm_rs.supervisor.images import Images
from lightllm_rs.supervisor.listener import HttpPort
from lightllm_rs.supervisor.reporter import Reporter
from lightllm_rs.supervisor.restarts import SERVICE_SECONDS, Restarts
from lightllm_rs.supervisor.roster import Roster

LOADING, SERVING, DOWN, DRAINING, ENDED = "loading", "serving", "down", "draining", "ended"

REPORT_SECONDS = 5.0
STOP_SECONDS = 5.0

log = logging.getLogger(__name__)


class Service:
    """Runs until a signal ends it.

    State: LOADING until all children are ready; SERVING; DOWN while router and backends start again; DRAINING after
    the first signal; ENDED. The HTTP processes learn of the engine (router and backends) by EngineUp and EngineDown.

    Args:
        port: of HTTP; closed when the service drains.
        announce: called once, when all is ready, with the children.
    """

    def __init__(
        self,
        settings: ServeSettings,
        roster: Roster,
        fleet: Fleet,
        port: HttpPort,
        announce: Callable[[list[ChildProcess]], None],
    ) -> None:
        self._settings, self._roster, self._fleet = settings, roster, fleet
        self._port, self._announce = port, announce
        self._reporter = Reporter(roster.supervisor, sees=bool(roster.visual()))
        self._images = Images(roster, fleet, self._reporter)
        self._restarts: dict[str, Restarts] = defaultdict(Restarts)
        self._state = LOADING
        self._began = time.monotonic()
        self._epoch = 0
        self._engine_since: float | None = None  # all of the engine ready
        self._undrained: set[str] = set()
        self._drain_deadline = 0.0
        self._report_due = self._began

    def run(self) -> None:
        """Returns after a signal, once everything has stopped. Raises ServiceError, also with everything stopped."""
        try:
            for start in [*self._roster.engine(self._epoch), *self._images.starts(), *self._roster.others()]:
                self._fleet.spawn(start)
            while self._state != ENDED:
                for event in self._fleet.wait(self._patience()):
                    self._handle(event)
                self._look_at_the_clock()
        finally:
            self._stop()
            self._reporter.close()

    def _handle(self, event: Event) -> None:
        if isinstance(event, Signalled):
            for _ in range(event.count):
                self._end_wanted()
        elif isinstance(event, Died):
            self._died(event.child)
        elif isinstance(event.message, Ready):
            self._ready(event)
        elif isinstance(event.message, Drained):
            self._drained(event.child.name)
        else:
            self._images.hear(event.child, event.message)

    # Start.

    def _ready(self, said: Said) -> None:
        child = said.child
        child.ready = time.monotonic()
        self._reporter.started(child)
        self._report_due = 0.0
        if child.name == "health":
            self._reporter.state(self._state)
        if child.start.package == "http" and self._engine_since is not None:
            self._fleet.send(child, self._engine_up())
        self._images.ready(child)
        if child.engine and all(other.ready is not None for other in self._engine()):
            self._engine_since = child.ready
            self._tell_http(self._engine_up())
            if self._state == DOWN:
                log.info("router and backends serve again after %.1f s", child.ready - child.spawned)
                self._enter(SERVING)
        if self._state == LOADING and all(other.ready is not None for other in self._fleet.children.values()):
            self._enter(SERVING)
            self._announce(list(self._fleet.children.values()))

    def _engine(self) -> list[ChildProcess]:
        return [child for child in self._fleet.children.values() if child.engine]

    def _engine_up(self) -> EngineUp:
        return EngineUp(self._epoch, endpoint(self._roster.supervisor.run_dir, f"requests-{self._epoch}"))

    def _tell_http(self, message: SupervisorMessage) -> None:
        for child in self._fleet.children.values():
            if child.start.package == "http" and child.ready is not None:
                self._fleet.send(child, message)

    def _enter(self, state: str) -> None:
        self._state = state
        self._reporter.state(state)

    # Deaths.

    def _died(self, child: ChildProcess) -> None:
        self._images.lost(child)
        if child.doomed:
            if self._state == DOWN and child.engine and not self._engine():
                self._start_engine()
            return
        why = child.epitaph()
        if self._state == LOADING:
            raise ServiceError(why)
        if child.engine:
            self._engine_lost(why)
        elif self._images.has(child):
            self._images.start_again(child, why)  # in the drain too: requests may still wait for it
        elif self._state == DRAINING:
            log.error("%s", why)
            self._drained(child.name)
        else:
            self._restart_alone(child, why)

    def _engine_lost(self, why: str) -> None:
        log.error("%s", why)
        now = time.monotonic()
        served = 0.0 if self._engine_since is None else now - self._engine_since
        self._engine_since = None
        # Why is for the log: it may tell of this host, and callers read what HTTP is told.
        self._tell_http(EngineDown("the engine stopped and is starting again"))
        for other in self._engine():
            other.kill()
        if self._state == DRAINING:
            return
        self._enter(DOWN)
        if self._restarts["engine"].give_up(served):
            raise ServiceError(
                f"router and backends failed three times without {SERVICE_SECONDS:.0f} s of service between: {why}"
            )
        if not self._engine():
            self._start_engine()

    def _start_engine(self) -> None:
        self._epoch += 1
        log.warning("starting router and backends again")
        for start in self._roster.engine(self._epoch):
            self._reporter.restarted(start.process)
            self._fleet.spawn(start)

    def _restart_alone(self, child: ChildProcess, why: str) -> None:
        if self._restarts[child.name].give_up(child.served(time.monotonic())):
            raise ServiceError(
                f"{child.name} failed three times without {SERVICE_SECONDS:.0f} s of service between: {why}"
            )
        log.error("%s; starting it again", why)
        self._reporter.restarted(child.name)
        self._fleet.spawn(child.start)

    # Time.

    def _patience(self) -> float:
        """Seconds until there is something to do though nothing happens."""
        due = [self._report_due]
        if self._state == DRAINING:
            due.append(self._drain_deadline)
        if self._state in (SERVING, DOWN, DRAINING):
            due.append(self._images.due())
        due += [self._start_deadline(child) for child in self._starting()]
        return max(0.0, min(due) - time.monotonic())

    def _starting(self) -> list[ChildProcess]:
        """Children that have to be ready by their deadline; none when the end has come."""
        if self._state in (DRAINING, ENDED):
            return []
        return [child for child in self._fleet.children.values() if child.ready is None and not child.doomed]

    def _start_deadline(self, child: ChildProcess) -> float:
        return (self._began if self._state == LOADING else child.spawned) + self._settings.start_timeout

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if self._state == DRAINING and now >= self._drain_deadline and self._undrained:
            log.warning("requests are still running after the drain timeout; stopping anyway")
            self._tell_http(EngineDown("the service is stopping"))  # so that they end with an error of their own
            self._enter(ENDED)
        if now >= self._report_due:
            self._report_due = now + REPORT_SECONDS
            bad_frames, self._fleet.bad_frames = self._fleet.bad_frames, 0
            self._reporter.flush(bad_frames)
        if self._state in (SERVING, DOWN, DRAINING):
            self._images.look(now)
        late = [child for child in self._starting() if now >= self._start_deadline(child)]
        if late:
            self._too_late(late)

    def _too_late(self, late: list[ChildProcess]) -> None:
        limit = self._settings.start_timeout
        if self._state == LOADING:
            names = ", ".join(child.name for child in late)
            raise ServiceError(f"not ready after {limit:.0f} s: {names}; if it was busy, raise --start-timeout")
        engine = [child for child in late if child.engine]
        for child in late:
            child.kill()
            if not child.engine:
                child.doomed = False  # its death is a failure like any other
        if engine:
            self._engine_lost(f"{engine[0].name} was not ready after {limit:.0f} s")

    # The end.

    def _end_wanted(self) -> None:
        if self._state == LOADING:
            self._enter(ENDED)
        elif self._state == DRAINING:
            self._drain_deadline = time.monotonic()
        elif self._state != ENDED:
            log.info("stopping: running requests have up to %g s", self._settings.drain_timeout)
            self._enter(DRAINING)
            self._port.close()
            self._drain_deadline = time.monotonic() + self._settings.drain_timeout
            http = [child for child in self._fleet.children.values() if child.start.package == "http"]
            self._undrained = {child.name for child in http if child.ready is not None}
            self._tell_http(Drain())
            self._drained("")

    def _drained(self, name: str) -> None:
        self._undrained.discard(name)
        if self._state == DRAINING and not self._undrained:
            self._enter(ENDED)

    def _stop(self) -> None:
        """Tells all to stop, and kills those that cannot hear it, or are there still after a while."""
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._fleet.children.values():
            asked = self._state == ENDED and child.ready is not None and self._fleet.send(child, Stop())
            if asked:
                child.doomed = True
            else:
                child.kill()
        while self._fleet.children:
            left = deadline - time.monotonic()
            if left <= 0:
                for child in self._fleet.children.values():
                    log.warning("%s did not stop and is killed", child.name)
                    child.kill()
                deadline = time.monotonic() + STOP_SECONDS
            for _ in self._fleet.wait(max(0.0, left)):
                pass
