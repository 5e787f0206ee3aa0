"""docs/images.md lists every figure of images, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from lightllm_rs.metric.catalogue import CATALOGUE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "images.md"


def named(text: str) -> set[str]:
    """Names of metrics in a page; `_more` after a name stands for one that differs in its end."""
    found, first = set(), ""
    for name in re.findall(r"`(lightllm_\w+|_\w+)`", text):
        if not name.startswith("_"):
            first = name
            found.add(name)
        else:
            stem = "_".join(first.split("_")[:3])
            found.add(stem + name)
    return found


def test_every_figure_of_images_is_listed() -> None:
    figures = {metric.name for metric in CATALOGUE if "image" in metric.name or metric.owner in ("cache", "visual")}
    assert named(PAGE.read_text()) == figures | {"lightllm_prefills_ahead_total"}
