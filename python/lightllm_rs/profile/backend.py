"""The backend that `serve` with the same flags would start, without a service around it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from lightllm_rs.backend.base import ModelBackend, PhaseReporter
from lightllm_rs.backend.main import options_of
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings, SettingsError
from lightllm_rs.supervisor.device import choose_device, visible_gpus, with_budgets
from lightllm_rs.supervisor.model import find_model


@contextmanager
def opened(settings: ServeSettings, phase: PhaseReporter) -> Iterator[tuple[ModelBackend, ChildStart]]:
    """A backend that is ready for plans, and what a child process would have been told of it.

    Raises SettingsError for more than one rank, ServiceError where model or device are not there, and BackendError.
    """
    if settings.tp > 1:
        raise SettingsError("profile measures one rank: leave --tp at 1")
    device = choose_device(settings, visible_gpus())
    model = find_model(settings)
    with tempfile.TemporaryDirectory() as run_dir:
        start = ChildStart(
            process="backend-0",
            rank=0,
            run_dir=run_dir,
            settings=with_budgets(settings, device),
            model_path=str(model.path),
            model_name=model.name,
            device=device,
            supervisor=os.getpid(),
        )
        backend = _made(settings)
        backend.init_model(options_of(start), phase)
        while backend.idle():  # what a server does while it has nothing else to do
            pass
        try:
            yield backend, start
        finally:
            backend.close()


def _made(settings: ServeSettings) -> ModelBackend:
    if settings.backend == "mock":
        from lightllm_rs.backend.mock import MockBackend

        return MockBackend()
    from lightllm_rs.backend.torch_backend import TorchBackend  # torch takes seconds to import

    return TorchBackend()
