"""Services for the tests of this folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from helpers.running_service import RunningService
from helpers.tiny_models import make_tiny_model

FakeService = Callable[..., RunningService]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny_model(folder, "llama")
    return folder


@pytest.fixture
def fake_service(tmp_path: Path, tiny_model: Path) -> Iterator[FakeService]:
    """Starts a service of fake children: `fake_service({"router": ["mute"]}, start_timeout=1)`."""
    base = tmp_path / "r"
    base.mkdir()
    with ExitStack() as stack:

        def start(
            children: dict[str, list[str]] | None = None,
            long_base: str | None = None,
            sees: bool = False,
            gpus: int = 0,
            **settings: Any,
        ) -> RunningService:
            settings = {"model": str(tiny_model), "backend": "mock", "port": 0} | settings
            if sees:
                settings = {"visual_stall_seconds": 3600} | settings  # fake visual servers do not say that they live
            asked = json.dumps({"settings": settings, "children": children or {}, "sees": sees, "gpus": gpus})
            script = Path(__file__).with_name("fake_service.py")
            return stack.enter_context(RunningService([sys.executable, str(script), asked], Path(long_base or base)))

        yield start
