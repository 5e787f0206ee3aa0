"""What all tests share: GPU tests are skipped where there is no GPU, and property tests do the same each time.

`pytest --hypothesis-profile explore` draws other examples than the last time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Nothing here fails on a clock, whether it is an example's or that of their making.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same")

# OpenMP's threads spin at their barriers; where several test processes share few cores, they spin against each other.
# It must be set before torch is loaded, and servers that tests start inherit it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Looks at the driver's device file, because importing torch to ask would cost each run seconds."""
    if Path("/dev/nvidia0").exists():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
