"""Which processes there are: the process table as data."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.device import visual_gpus
from lightllm_rs.supervisor.model import Model


class Roster:
    """Makes the starts of all children of one service.

    Args:
        settings: with budgets decided.
        listen_fds: the bound HTTP sockets, one for each HTTP process.
    """

    def __init__(
        self, settings: ServeSettings, model: Model, device: str, run_dir: Path, listen_fds: list[int]
    ) -> None:
        self._settings = settings
        self._listen_fds = listen_fds
        self._sees = model.sees
        self._common = ChildStart(
            process="supervisor",
            run_dir=str(run_dir),
            settings=settings,
            model_path=str(model.path),
            model_name=model.name,
            device=device,
            supervisor=os.getpid(),
            hash_key=secrets.token_bytes(32),
        )

    @property
    def supervisor(self) -> ChildStart:
        """The supervisor's own, to report by."""
        return self._common

    def engine(self, epoch: int) -> list[ChildStart]:
        """Backends first, since they take longest to start, then the router."""
        shared = {start.gpu for start in self.visual()}
        ranks = [
            self._start(process=f"backend-{rank}", rank=rank, index=rank, epoch=epoch, shares_gpu=rank in shared)
            for rank in range(self._settings.tp)
        ]
        return [*ranks, self._start(process="router", epoch=epoch)]

    def others(self) -> list[ChildStart]:
        """HTTP, health and metric server: each of them can be started again alone."""
        http = [
            self._start(process=f"http-{index}", index=index, listen_fd=descriptor)
            for index, descriptor in enumerate(self._listen_fds)
        ]
        return [*http, self._start(process="health"), self._start(process="metric")]

    def images(self, epoch: int) -> list[ChildStart]:
        """The cache manager and the visual servers; none for a model of text."""
        return [self.cache(epoch), *self.visual()] if self._sees else []

    def cache(self, epoch: int) -> ChildStart:
        """The cache manager; `epoch` counts them."""
        return self._start(process="cache", epoch=epoch)

    def visual(self) -> list[ChildStart]:
        """The visual servers; none for a model of text."""
        if not self._sees:
            return []
        gpus = visual_gpus(self._settings) if self._common.device == "cuda" else [-1] * self._settings.visual_dp
        return [self._start(process=f"visual-{index}", index=index, gpu=gpu) for index, gpu in enumerate(gpus)]

    def _start(self, **changes: object) -> ChildStart:
        return msgspec.structs.replace(self._common, **changes)
