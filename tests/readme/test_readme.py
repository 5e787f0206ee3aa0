"""The README's examples run as they stand, against the demo model."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import Server, serving

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
URL = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    with serving("--device", "cpu", "--max-model-len", "1024") as server:
        yield server


def there(example: str, server: Server) -> str:
    assert URL in example
    return example.replace(URL, f"http://{server.host}:{server.port}")


def test_the_curl_line(demo: Server) -> None:
    [curl] = [block for block in blocks("sh") if block.startswith("curl")]
    done = subprocess.run(["bash", "-c", there(curl, demo)], capture_output=True, text=True, check=True, timeout=240)
    assert "Paris" in done.stdout


def test_the_python_example(demo: Server) -> None:
    [code] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", there(code, demo)], capture_output=True, text=True, check=True, timeout=240
    )
    assert len(done.stdout.split()) > 5


def test_the_curl_line_that_the_server_prints(demo: Server) -> None:
    [line] = [line for line in demo.log.read_text().splitlines() if line.startswith("curl ")]
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=240)
    assert '"choices"' in done.stdout


def test_make_knows_the_targets_that_are_named() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert {"serve", "test", "wheel", "wheelhouse"} <= named
    for target in named:
        subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=True)


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
