"""Imports point down, and the light parts of the package stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "lightllm_rs"

MAY_IMPORT = {
    "kernels": set(),
    "messages": set(),
    "settings": set(),
    "checkpoint": set(),
    "vision": {"checkpoint", "messages"},
    "layers": {"kernels", "checkpoint"},
    "models": {"kernels", "layers", "checkpoint", "vision"},
    "process": {"messages", "settings"},
    "tokenizer": {"checkpoint", "_core"},
    "backend": {"kernels", "layers", "models", "checkpoint", "vision", "process", "messages", "settings", "cache"},
    "media": {"settings"},
    "http": {"media", "tokenizer", "checkpoint", "vision", "process", "messages", "settings", "_core", "cache"},
    "visual": {
        "media",
        "kernels",
        "layers",
        "models",
        "checkpoint",
        "vision",
        "process",
        "messages",
        "settings",
        "cache",
    },
    "router": {"process", "messages", "settings", "_core"},
    "cache_manager": {"process", "messages", "settings", "_core"},
    "health": {"process", "messages", "settings"},
    "metric": {"process", "messages", "settings"},
    "supervisor": {"process", "messages", "settings", "checkpoint"},
    "simulate": {"_core"},
    "replay": {"_core"},
    "profile": {"backend", "supervisor", "process", "messages", "settings"},
    "bench": {"tokenizer", "checkpoint", "settings", "simulate", "messages", "process", "supervisor"},
}
"""What each package may import of its siblings; `lightllm_rs` itself (the version) is open to all."""


def imported_siblings(path: Path) -> set[str]:
    """Packages of lightllm_rs that a file imports, outside `if TYPE_CHECKING`."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom):
            # The package of a relative import: one dot is the file's own, each further one the next above.
            above = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            modules = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        for module in modules:
            parts = module.split(".")
            if parts[0] == "lightllm_rs" and len(parts) > 1 and parts[1] in {*MAY_IMPORT, "_core", "cache", "cli"}:
                names.add(parts[1])
    return names


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_down(package: str) -> None:
    files = sorted((PACKAGE / package).rglob("*.py"))
    assert files, f"{package} has no modules: take it out of the table"
    entry = PACKAGE / "process" / "entry.py"  # the one place that knows all processes, to start the one asked for
    for path in files:
        if path == entry:
            continue
        wrong = imported_siblings(path) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)


def test_one_package_knows_zmq() -> None:
    users = {path for path in PACKAGE.rglob("*.py") if "import zmq" in path.read_text()}
    assert users == {PACKAGE / "messages" / "sockets.py"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("lightllm_rs", {"torch", "triton", "numpy", "zmq"}),
        ("lightllm_rs.scheduling", {"torch", "triton", "numpy", "zmq"}),
        ("lightllm_rs.simulate", {"torch", "triton", "numpy", "zmq"}),
        ("lightllm_rs.cli", {"torch", "triton", "transformers", "fastapi"}),
        ("lightllm_rs.bench.serve", {"torch", "triton", "transformers", "fastapi", "zmq"}),
        ("lightllm_rs.media", {"torch", "triton", "transformers", "fastapi", "zmq"}),
        ("lightllm_rs.http.main", {"torch", "triton", "transformers"}),
        ("lightllm_rs.backend.mock", {"torch", "triton", "transformers"}),
        ("lightllm_rs.vision", {"torch", "triton", "transformers", "PIL"}),
        ("lightllm_rs.cache", {"torch", "triton", "zmq"}),
        ("lightllm_rs.cache_manager.main", {"torch", "triton", "fastapi"}),
        ("lightllm_rs.visual.main", {"torch", "triton", "transformers", "fastapi"}),
        ("lightllm_rs.health.main", {"torch", "triton", "fastapi"}),
        ("lightllm_rs.metric.main", {"torch", "triton", "fastapi"}),
        ("lightllm_rs.router.main", {"torch", "triton", "fastapi"}),
    ],
)
def test_light_modules_import_nothing_heavy(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(' '.join(sorted({heavy!r} & set(sys.modules))))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
