"""Pictures in files, below the one folder that the operator allows."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lightllm_rs.media.errors import MediaError, too_many_bytes


def path_of_url(url: str) -> str:
    """The path of a `file://` URL. Raises MediaError."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise MediaError("the URL does not parse", "invalid_image_url") from None
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise MediaError("the URL must be file:// and an absolute path", "invalid_image_url")
    return path


def read_file(path: str, folder: Path, limit: int) -> bytes:
    """The bytes of a file below `folder` (an absolute path without links). Raises MediaError.

    What counts is where the opened file is, after all links, so nothing can be exchanged between check and reading.
    """
    try:
        # Without O_NONBLOCK a named pipe would hold up the thread.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        raise _absent() from None
    try:
        status = os.fstat(handle)
        where = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if not stat.S_ISREG(status.st_mode) or not where.is_relative_to(folder):
            raise _absent()
        if status.st_size > limit:
            raise too_many_bytes(limit)
        with os.fdopen(os.dup(handle), "rb") as file:
            data = file.read(limit + 1)
    except OSError:
        raise _absent() from None
    finally:
        os.close(handle)
    if len(data) > limit:
        raise too_many_bytes(limit)
    return data


def _absent() -> MediaError:
    # One text for all: it must not tell which files there are elsewhere.
    return MediaError("there is no such file below the folder that this server allows", "invalid_image_url")
