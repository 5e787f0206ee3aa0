"""A service whose HTTP processes may fetch images from this machine: `python open_network_service.py FLAGS`."""

from __future__ import annotations

import sys
from pathlib import Path

from lightllm_rs.cli import parser
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings.flags import normalised
from lightllm_rs.settings.sources import load_with_places
from lightllm_rs.supervisor.child_process import default_command
from lightllm_rs.supervisor.main import serve


def command(start: ChildStart) -> list[str]:
    """The child's command line."""
    if start.package == "http":
        return [sys.executable, str(Path(__file__).with_name("open_network_child.py"))]
    return default_command(start)


if __name__ == "__main__":
    flags = parser().parse_args(normalised(["serve", *sys.argv[1:]]))
    sys.exit(serve(*load_with_places(flags), command))
