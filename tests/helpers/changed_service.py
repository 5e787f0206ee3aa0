"""A service of which one kind of process is changed: `python changed_service.py PACKAGE SCRIPT FLAGS`.

SCRIPT stands beside this file and takes the place of `lightllm_rs.process`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lightllm_rs.cli import parser
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings.flags import normalised
from lightllm_rs.settings.sources import load_with_places
from lightllm_rs.supervisor.child_process import default_command
from lightllm_rs.supervisor.main import serve


def changed_command(package: str, script: str, *flags: str) -> list[str]:
    """The command line of such a service, on any free port."""
    return [sys.executable, __file__, package, script, "--port", "0", *flags]


def command(start: ChildStart) -> list[str]:
    """The child's command line."""
    if start.package == sys.argv[1]:
        return [sys.executable, str(Path(__file__).with_name(sys.argv[2]))]
    return default_command(start)


if __name__ == "__main__":
    given = parser().parse_args(normalised(["serve", *sys.argv[3:]]))
    sys.exit(serve(*load_with_places(given), command))
