"""Random weights from shapes alone, for benchmarks and tests of shapes whose weights are not at hand."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

STANDARD_DEVIATION = 0.02


def dummy_tensors(
    shapes: Mapping[str, tuple[int, ...]], *, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor on `device`) of each shape: matrices normal, norms one, biases small.

    The values depend on the seed, the name, the shape and the kind of device only: every rank makes the same tensor.
    """
    import torch

    generator = torch.Generator(device)
    for name, shape in shapes.items():
        generator.manual_seed(zlib.crc32(f"{seed} {name}".encode()))  # a CPU generator takes 32 bits of it
        tensor = torch.empty(shape, dtype=dtype, device=device)
        if name.endswith("norm.weight"):
            tensor.fill_(1.0)
        else:
            tensor.normal_(0.0, STANDARD_DEVIATION, generator=generator)
        yield name, tensor
