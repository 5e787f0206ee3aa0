"""A service of fake children: `python fake_service.py JSON`, where JSON has "settings" and "children".

"children" maps process names to behaviours of `fake_child.py`; a child that is not named behaves well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.main import serve


def main() -> int:
    asked = json.loads(sys.argv[1])
    settings = msgspec.convert(asked["settings"], ServeSettings)

    def command(start: ChildStart) -> list[str]:
        behaviours = asked["children"].get(start.process, [])
        return [sys.executable, str(Path(__file__).with_name("fake_child.py")), *behaviours]

    return serve(settings, command)


if __name__ == "__main__":
    sys.exit(main())
