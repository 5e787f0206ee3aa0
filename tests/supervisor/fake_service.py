"""A service of fake children: `python fake_service.py JSON`.

The JSON has "settings", "children", "sees" (whether the model does) and "gpus" (how many can be seen; 0: as it is).
"children" maps process names to behaviours of `fake_child.py`; a child that is not named behaves well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor import main as main_module
from lightllm_rs.supervisor.model import find_model


def main() -> int:
    asked = json.loads(sys.argv[1])
    settings = msgspec.convert(asked["settings"], ServeSettings)

    def command(start: ChildStart) -> list[str]:
        behaviours = asked["children"].get(start.process, [])
        return [sys.executable, str(Path(__file__).with_name("fake_child.py")), *behaviours]

    main_module.find_model = lambda settings: msgspec.structs.replace(find_model(settings), sees=asked["sees"])
    if asked["gpus"]:
        main_module.visible_gpus = lambda: asked["gpus"]
    places = {name: f"--{name.replace('_', '-')}" for name in asked["settings"]}
    return main_module.serve(settings, places, command)


if __name__ == "__main__":
    sys.exit(main())
