"""What is written: JSON and CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightllm_rs.simulate.errors import input_error


def check_targets(targets: Mapping[str, str | None], inputs: Sequence[Path]) -> None:
    """Whether all these files can be written, and none is one that is read or written anyway. Raises InputError.

    Args:
        targets: files by the names of their flags; None: the flag was not given.
        inputs: files that are read.
    """
    seen = [(path, "is read") for path in inputs]
    for flag, target in targets.items():
        if target is None or target == "-":
            continue
        check_target(target)
        _check_unused(Path(target), seen, f"--{flag}", flag)
        seen.append((Path(target), f"is written by --{flag}"))


def check_files(setups: Sequence[Mapping[str, Any]]) -> None:
    """Whether no setup writes to a file that one of them reads, or that another writes. Raises InputError."""
    setups = _parts(setups)  # what is none is said where setups are read, as is what is no path
    workloads = [part.get("workload") for setup in setups for part in (setup, *_parts(setup.get("before")))]
    sources = [workload.get("source") for workload in _parts(workloads)]
    seen = [(Path(source["path"]), "is read") for source in _parts(sources) if isinstance(source.get("path"), str)]
    for setup in setups:
        for name in ("csv", "journal"):
            target = setup.get(name)
            if not isinstance(target, str):
                continue
            _check_unused(Path(target), seen, name, name)
            seen.append((Path(target), f"is written as {name} already"))


def _parts(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list | tuple) else []


def _check_unused(path: Path, seen: Sequence[tuple[Path, str]], shown: str, parameter: str) -> None:
    """Raises InputError if the file is one of those, each with what is done with it."""
    for other, use in seen:
        if _same(path, other):
            raise input_error(f"{shown}: {path} {use}: write to another file", path=path, parameter=parameter)


def _same(one: Path, other: Path) -> bool:
    """One file by two names. What is no plain file (/dev/null, say) may be written twice."""
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)
    return one.resolve() == other.resolve()


def check_target(target: str) -> None:
    """Whether a file can be written there, before hours are spent. Raises InputError."""
    path = Path(target)
    if target != "-" and (path.is_dir() or not path.parent.is_dir()):
        reason = "is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise input_error(f"{path}: {reason}: give a file to write", path=path)


def write_json(target: str, rows: Sequence[Any]) -> None:
    """A JSON list, one row a line; `-` is standard output. Raises InputError."""
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(target), text)


def write_text(path: Path, text: str) -> None:
    """Raises InputError that names the file."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise input_error(f"{path}: {error.strerror}", path=path) from None


def join_csv(target: Path, parts: Sequence[tuple[str, Path]]) -> None:
    """One file of several with the same header; the first column says which cell a line is of. Raises InputError."""
    try:
        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for number, (cell, part) in enumerate(parts):
                with part.open(encoding="utf-8", newline="") as lines:
                    reader = csv.reader(lines)
                    header = next(reader)
                    if number == 0:
                        writer.writerow(["cell", *header])
                    writer.writerows([cell, *line] for line in reader)
    except OSError as error:
        raise input_error(f"{target}: {error.strerror}", path=target) from None
