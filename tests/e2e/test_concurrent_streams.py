"""256 streams at once give the texts that each request gets alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from e2e.streams import check_same, scenario
from server import Server, serving


def test_texts_do_not_depend_on_the_company(tiny_server: Server) -> None:
    check_same(*asyncio.run(scenario(tiny_server)))


@pytest.mark.gpu
@pytest.mark.parametrize("flags", [(), ("--enforce-eager",)], ids=["graphs", "eager"])
def test_nor_do_they_on_a_gpu(tiny_folder: Path, flags: tuple[str, ...]) -> None:
    with serving(str(tiny_folder), "--device", "cuda", "--dtype", "float32", "--kv-cache-tokens", "8192", *flags) as it:
        check_same(*asyncio.run(scenario(it)))
