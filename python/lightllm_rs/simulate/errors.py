"""What can be wrong with the input of a simulation."""

from __future__ import annotations

from pathlib import Path

from lightllm_rs._core import InputError


def input_error(
    message: str, *, path: Path | None = None, line: int | None = None, parameter: str | None = None
) -> InputError:
    """An InputError with its attributes, like those that the compiled part raises."""
    error = InputError(message)
    error.path = None if path is None else str(path)
    error.line = line
    error.parameter = parameter
    return error


__all__ = ["InputError", "input_error"]
