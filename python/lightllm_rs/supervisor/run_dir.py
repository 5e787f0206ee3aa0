"""The private directory of all sockets, and the arenas in shared memory that go with it."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightllm_rs.supervisor.errors import ServiceError

PREFIX = "llrs-"

PATIENCE_SECONDS = 2.0
"""How long to wait for others who make or remove run directories at the same time."""


ARENAS = Path("/dev/shm")  # noqa: S108 - each arena is made there exclusively
ARENA_PREFIX = "lightllm-rs-"
"""Arenas of images are files there, named by this, their run directory and the epoch of their cache manager."""


def arena_name(run_dir: Path, epoch: int) -> str:
    """Name of the arena of one cache manager."""
    return f"{ARENA_PREFIX}{run_dir.name.removeprefix(PREFIX)}-{epoch}"


def remove_arenas(run_dir: Path, epoch: int | None = None) -> None:
    """Removes the arena of one cache manager, or all of a run directory; mappings of it stay as they are."""
    names = [arena_name(run_dir, epoch)] if epoch is not None else _arenas(run_dir)
    for name in names:
        (ARENAS / name).unlink(missing_ok=True)


def _arenas(run_dir: Path) -> list[str]:
    start = f"{ARENA_PREFIX}{run_dir.name.removeprefix(PREFIX)}-"
    found = ARENAS.glob(glob.escape(start) + "*")
    return [path.name for path in found if path.name.removeprefix(start).isdecimal()]


def default_base() -> Path:
    """$XDG_RUNTIME_DIR if it is a directory that we may write, otherwise the directory for temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime)
    return Path(tempfile.gettempdir())


class RunDirectory:
    """A new directory of mode 0700, locked for as long as this process lives. Also removes those of dead supervisors.

    Attributes:
        path: where it is.

    Raises ServiceError where it cannot be made.
    """

    def __init__(self, base: Path | None = None) -> None:
        base = base or default_base()
        try:
            with _exclusive(base) as alone:
                if alone:
                    remove_stale(base)
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
                self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ServiceError(
                f"no directory for the sockets can be made in {base}: {error.strerror}; "
                "set XDG_RUNTIME_DIR or TMPDIR to one that can be written"
            ) from None

    def remove(self) -> None:
        """Removes it with all that is in it."""
        remove_arenas(self.path)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_stale(base: Path) -> list[Path]:
    """Removes the run directories in `base` that are ours by user and name, and that nobody has locked."""
    removed = []
    for path in sorted(base.glob(PREFIX + "*")):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # a file, a link, another user's, or gone by now
        try:
            if os.fstat(fd).st_uid == os.getuid():
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_arenas(path)
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
        except BlockingIOError:
            pass  # its supervisor lives
        finally:
            os.close(fd)
    return removed


@contextmanager
def _exclusive(base: Path) -> Iterator[bool]:
    """Nobody else takes a directory for stale between its making and its locking; False if others do not let us."""
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline, alone = time.monotonic() + PATIENCE_SECONDS, False
    try:
        while not alone and time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                alone = True
            except BlockingIOError:
                time.sleep(0.02)
        yield alone
    finally:
        os.close(fd)
