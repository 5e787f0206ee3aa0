"""Formats of traces, known by their first line."""

from __future__ import annotations

from pathlib import Path

from lightllm_rs.simulate.errors import input_error

_LONGEST_LINE = 1 << 20


def format_of(path: Path) -> str:
    """`azure`, `mooncake`, `burstgpt`, `sharegpt` or `journal`. Raises InputError."""
    if path.exists() and not path.is_file() and not path.is_dir():
        message = f"{path}: is no plain file, and can be read only once: say what it holds with --format"
        raise input_error(message, path=path)
    try:
        with path.open("rb") as file:
            line = next((line for line in iter(lambda: file.readline(_LONGEST_LINE), b"") if line.strip()), b"")
    except OSError as error:
        raise input_error(f"{path}: {error.strerror}", path=path) from None
    line = line.removeprefix(b"\xef\xbb\xbf").strip()
    compact = line.replace(b" ", b"")
    if not line:
        raise input_error(f"{path}: the file is empty: give one with a request at least", path=path)
    if line.upper().startswith(b"TIMESTAMP,CONTEXTTOKENS"):
        return "azure"
    if b"Request tokens" in line or line.startswith(b"Timestamp,"):
        return "burstgpt"
    if compact.startswith(b'{"journal":'):
        return "journal"
    if compact.startswith(b"{") and (b'"hash_ids"' in compact or b'"input_length"' in compact):
        return "mooncake"
    if compact.startswith((b"[", b"{")):
        return "sharegpt"
    shown = line[:60].decode("utf-8", "replace")
    message = (
        f"{path}:1: no format begins with {shown!r}: say which with --format azure, mooncake, burstgpt or sharegpt"
    )
    raise input_error(message, path=path, line=1)
