"""Each kernel against the limit of its device: the bytes it must move over the copy bandwidth measured beside it.

    python benchmarks/kernels.py [name ...]

Every launch of a timed graph has inputs of its own, more than the caches hold. Needs a CUDA device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from lightllm_rs.kernels.rms_norm import rms_norm
from lightllm_rs.kernels.silu_mul import silu_mul
from lightllm_rs.kernels.skinny_linear import skinny_linear

COLD = 256 << 20
"""Bytes after which nothing of a first input is left in the caches."""


@dataclass
class Entry:
    """A launch to time: `run(i)` with the i-th of `sets` inputs; it must move `bytes`."""

    name: str
    bytes: int
    sets: int
    run: Callable[[int], object]


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, device="cuda")


def linear() -> Iterator[Entry]:
    """The products of Llama-3.1-8B with few rows, and the library's for comparison."""
    for outputs, inputs, silu in ((6144, 4096, False), (4096, 4096, False), (28672, 4096, True), (4096, 14336, False)):
        sets = COLD // (outputs * inputs * 2) + 2
        weights = [floats(outputs, inputs) for _ in range(sets)]
        for rows in (1, 2, 4):
            yield from products(floats(rows, inputs), weights, silu)


def products(x: torch.Tensor, weights: list[torch.Tensor], silu: bool) -> Iterator[Entry]:
    norm = (floats(x.shape[1]), 1e-5)
    size, sets = weights[0].nbytes, len(weights)
    name = f"{x.shape[0]} rows, {weights[0].shape[0]} x {weights[0].shape[1]}"
    yield Entry(f"skinny_linear {name}", size, sets, lambda i: skinny_linear(x, weights[i], norm=norm, silu=silu))
    yield Entry(f"library       {name}", size, sets, lambda i: F.linear(x, weights[i]))


def elementwise() -> Iterator[Entry]:
    """Norm and activation of a prompt's tokens."""
    tokens = 4096
    x, residual, weight = floats(tokens, 4096), floats(tokens, 4096), floats(4096)
    yield Entry("rms_norm with residual, 4096 x 4096", 4 * x.nbytes, 8, lambda i: rms_norm(x, weight, 1e-5, residual))
    gate_up = floats(tokens, 28672)
    yield Entry("silu_mul, 4096 x 28672", gate_up.nbytes * 3 // 2, 4, lambda i: silu_mul(gate_up))


ENTRIES = {"linear": linear, "elementwise": elementwise}


def microseconds(entry: Entry) -> float:
    """Of one launch; the median of nine runs of a captured graph of all sets."""
    entry.run(0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(entry.sets):
            entry.run(i)
    times = []
    for _ in range(9):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / entry.sets)
    return sorted(times)[4]


def copy_bandwidth() -> float:
    """Bytes a microsecond of a large copy, read and written bytes counted."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    copy = Entry("copy", 2 * source.nbytes, 1, lambda i: target.copy_(source))
    return copy.bytes / microseconds(copy)


def main() -> None:
    chosen = sys.argv[1:] or list(ENTRIES)
    limit = copy_bandwidth()
    print(f"{torch.cuda.get_device_name()}: copy {limit / 1e6:.2f} TB/s")
    for name in chosen:
        for entry in ENTRIES[name]():
            time = microseconds(entry)
            print(f"{entry.name:48} {time:9.1f} us  {entry.bytes / time / limit:6.1%} of the copy bandwidth")


if __name__ == "__main__":
    main()
