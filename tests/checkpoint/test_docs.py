"""docs/models.md lists what is loaded, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from lightllm_rs.checkpoint.families import FAMILIES
from lightllm_rs.checkpoint.vision_families import VISION_FAMILIES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"


def test_every_architecture_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.M)
    assert sorted(listed) == sorted({**FAMILIES, **VISION_FAMILIES})
