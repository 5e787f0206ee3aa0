"""Torch backends with tiny models, of text and that see, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from helpers.plan_driver import Driver
from helpers.replayed import HostStaging, replayed_graphs
from helpers.tiny_backend import CAPACITY, OPTIONS
from helpers.tiny_models import make_tiny_model
from helpers.tiny_seeing import KINDS as SEEING_KINDS
from helpers.whole_pass import WholePass
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import STAGED_WORDS, TorchBackend

if TYPE_CHECKING:
    from helpers.seeing_backend import SeeingBackend
    from helpers.seeing_reference import Reference


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


KINDS = ["cpu", "replayed", *(pytest.param(kind, marks=pytest.mark.gpu) for kind in ("eager", "graphs"))]


@pytest.fixture(scope="module", params=KINDS)
def loaded(folder: Path, request: pytest.FixtureRequest) -> tuple[TorchBackend, bool]:
    """The loaded model on a CPU, also with captured steps as far as that goes, on a GPU, and there with captured
    graphs; always in float32."""
    graphs = request.param in ("graphs", "replayed")
    if request.param in ("cpu", "replayed"):
        options = BackendOptions(str(folder), **OPTIONS)
    elif torch.cuda.is_available():
        options = BackendOptions(str(folder), **OPTIONS, device="cuda", dtype="float32", eager=True)
    else:
        pytest.skip("no CUDA device")
    backend = TorchBackend()
    backend.init_model(options, lambda *_: None)
    return backend, graphs


@pytest.fixture
def backend(loaded: tuple[TorchBackend, bool]) -> Iterator[TorchBackend]:
    """The same with an empty cache."""
    backend, graphs = loaded
    with replayed_graphs() if backend.device.type == "cpu" and graphs else nullcontext():
        backend.open(CAPACITY)
        if graphs:
            backend.staging = backend.staging or HostStaging(STAGED_WORDS, backend.device)
            backend.capture()
        yield backend
    backend.staging = None


@pytest.fixture
def driver(backend: TorchBackend) -> Driver:
    return Driver(backend)


@pytest.fixture(scope="module")
def whole(loaded: tuple[TorchBackend, bool]) -> WholePass:
    return WholePass(loaded[0])


@pytest.fixture(scope="module", params=SEEING_KINDS)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[SeeingBackend, Reference]:
    from helpers.seeing_backend import SeeingBackend  # with transformers, for which tests of text need not wait
    from helpers.seeing_reference import Reference
    from helpers.tiny_seeing import make_seeing_model

    folder = make_seeing_model(tmp_path_factory.mktemp("model"), request.param)
    return SeeingBackend(folder), Reference.of(folder, request.param)


@pytest.fixture
def seeing(known: tuple[SeeingBackend, Reference]) -> SeeingBackend:
    """With no requests in it."""
    seeing = known[0]
    seeing.reset()
    return seeing


@pytest.fixture
def reference(known: tuple[SeeingBackend, Reference]) -> Reference:
    return known[1]
