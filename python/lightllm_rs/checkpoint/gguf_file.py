"""The header of a GGUF file: metadata and tensor table, read once, every length checked against the file.

The `gguf` package's own reader keeps one numpy view per token and takes seconds on a large vocabulary; its tables of
quantisation types and its dequantisation are used (see gguf_tensors.py).

Layout (little-endian): magic "GGUF", version u32, tensor count u64, pair count u64; pairs of (string key, type u32,
value); per tensor name, dimensions (u32 count, u64 each, fastest first), type u32, offset u64; padding; data.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import CheckpointError

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
MAX_ITEMS = 1 << 24  # more pairs, tensors or array elements than any real file has
MAX_DIMENSIONS = 4


@dataclass(frozen=True)
class GgufTensor:
    """`shape`: in torch's order (slowest first). `kind`: GGML type number. `offset`: from the start of the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass(frozen=True)
class GgufFile:
    """`metadata`: scalars as int, float, bool or str; arrays of strings as list; arrays of numbers as numpy arrays."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf(path: Path) -> GgufFile:
    """Raises `CheckpointError` naming the file if it is missing, truncated or not GGUF version 2 or 3."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return Cursor(data, path).file()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    except (struct.error, UnicodeDecodeError, IndexError, OverflowError) as error:
        raise CheckpointError(f"{path} is truncated or not a valid GGUF file ({error}): download it again") from None


class Cursor:
    """Reads forward through the header. Reading past the end raises `struct.error`."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data = data
        self.path = path
        self.at = 0

    def file(self) -> GgufFile:
        if self.data[:4] != b"GGUF":
            raise CheckpointError(f"{self.path} is not a GGUF file")
        self.at = 4
        version = self.take("I")
        if version not in (2, 3):
            raise CheckpointError(f"{self.path} is GGUF version {version}: only versions 2 and 3 are supported")
        tensor_count, pair_count = self.count("Q"), self.count("Q")
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = self.string()
            metadata[key] = self.value(self.take("I"))
        tensors = [self.tensor() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise CheckpointError(f"{self.path}: general.alignment must be a power of two, not {alignment!r:.40}")
        start = -(-self.at // alignment) * alignment
        table = {t.name: GgufTensor(t.name, t.shape, t.kind, start + t.offset) for t in tensors}
        if len(table) != len(tensors):
            raise CheckpointError(f"{self.path} names a tensor twice: the file is corrupt")
        return GgufFile(self.path, metadata, table)

    def take(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def count(self, code: str) -> int:
        value = self.take(code)
        if value > MAX_ITEMS:
            raise CheckpointError(f"{self.path} is corrupt: it claims {value} items in a list")
        return int(value)

    def string(self) -> str:
        size = self.take("Q")
        end = self.at + size
        if end > len(self.data):
            raise struct.error(f"a string of {size} bytes runs past the end")
        text = self.data[self.at : end].decode("utf-8")
        self.at = end
        return text

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind in SCALARS:
            return self.take(SCALARS[kind])
        if kind == ARRAY:
            return self.array()
        raise CheckpointError(f"{self.path} is corrupt: metadata of unknown type {kind}")

    def array(self) -> Any:
        kind, count = self.take("I"), self.count("Q")
        if kind in SCALARS:
            dtype = np.dtype(SCALARS[kind]).newbyteorder("<")
            end = self.at + count * dtype.itemsize
            if end > len(self.data):
                raise struct.error(f"an array of {count} numbers runs past the end")
            values = np.frombuffer(self.data[self.at : end], dtype)
            self.at = end
            return values
        if kind == STRING:
            return [self.string() for _ in range(count)]
        raise CheckpointError(f"{self.path}: arrays of type {kind} are not supported in GGUF metadata")

    def tensor(self) -> GgufTensor:
        name, dimensions = self.string(), self.take("I")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise CheckpointError(f"{self.path}: tensor {name!r:.80} has {dimensions} dimensions")
        sizes = [int(self.take("Q")) for _ in range(dimensions)]
        return GgufTensor(name, tuple(reversed(sizes)), int(self.take("I")), int(self.take("Q")))
