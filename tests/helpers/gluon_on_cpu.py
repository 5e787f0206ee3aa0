"""Gluon kernels for Hopper on a CPU, for their logic: partitions are threads, barriers keep phases as mbarriers do.

Gluon has no interpreter. Here a kernel's source runs with NumPy in the place of the language: what it computes, what it
reads and writes, and who waits for whom are its own. Products are done when they are issued, so that a buffer that is
given back too early does not show; layouts mean nothing.
"""

from __future__ import annotations

import ast
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

PATIENCE = 60.0
"""Seconds after which partitions that wait are taken for deadlocked."""


class Scalar(int):
    """A number of the language."""

    def to(self, _: object) -> Scalar:
        return self


def forward(name: str) -> Callable[..., Any]:
    return lambda self, other: value(getattr(int, name)(self, other))


for operation in ("add", "sub", "mul", "floordiv", "mod"):
    for side in ("", "r"):
        setattr(Scalar, f"__{side}{operation}__", forward(f"__{side}{operation}__"))


class Array(np.ndarray):
    """A tensor of the language."""

    def to(self, kind: object) -> Array:
        return value(torch.from_numpy(np.array(self)).to(kind).to(torch.float32 if kind == torch.bfloat16 else kind))


def value(x: Any) -> Any:
    """x as the language has it. Floats of 16 bits are kept in 32."""
    if x is NotImplemented:
        return x
    x = np.asarray(x)
    return Scalar(x) if x.ndim == 0 and x.dtype.kind in "iub" else x.view(Array)


class Pointer:
    def __init__(self, array: np.ndarray, at: Any = 0) -> None:
        self.array, self.at = array.reshape(-1), np.asarray(at)

    def __add__(self, offset: Any) -> Pointer:
        return Pointer(self.array, self.at + offset)

    def load(self, mask: Any, other: float) -> Any:
        wanted = np.broadcast_to(mask, self.at.shape)
        return value(np.where(wanted, self.array[np.where(wanted, self.at, 0)], other))

    def store(self, x: Any, mask: Any) -> None:
        wanted = np.broadcast_to(mask, self.at.shape)
        self.array[self.at[wanted]] = np.broadcast_to(x, self.at.shape)[wanted]


class Barrier:
    """An mbarrier: a phase ends when all arrivals and all bytes of it have come."""

    news = threading.Condition()
    broken = False

    def __init__(self) -> None:
        self.phase, self.count, self.left, self.bytes = 0, 0, 0, 0

    def init(self, count: int) -> None:
        self.count = self.left = count

    def change(self, arrivals: int, size: int) -> None:
        with self.news:
            self.left -= arrivals
            self.bytes += size
            assert self.left >= 0, "more arrivals than the barrier counts"
            if not self.left and not self.bytes:
                self.phase, self.left = self.phase + 1, self.count
                self.news.notify_all()

    def wait(self, parity: int) -> None:
        with self.news:
            self.news.wait_for(lambda: self.phase & 1 != parity or Barrier.broken, PATIENCE)
            if self.phase & 1 == parity:
                Barrier.broken = True
                self.news.notify_all()
                raise RuntimeError("deadlock")


class Shared:
    """Shared memory, NaN until it is written, or barriers."""

    def __init__(self, content: Any) -> None:
        self.content, self.dtype = content, torch.bfloat16
        self.shape = np.shape(content)

    def index(self, i: int) -> Any:
        return self.content[i] if isinstance(self.content, list) else Shared(self.content[i])

    def slice(self, start: int, length: int) -> Shared:
        return Shared(self.content[start : start + length])

    def permute(self, order: Sequence[int]) -> Shared:
        return Shared(self.content.transpose(order))

    def load(self, _: object) -> Any:
        return value(self.content.copy())

    def store(self, x: Any) -> None:
        self.content[...] = x


class Source:
    """A tensor descriptor: zeros past the end, where `past` says that blocks may lie there."""

    dtype = torch.bfloat16

    def __init__(self, array: np.ndarray, past: bool = False) -> None:
        self.array, self.past = array, past

    def copy(self, place: Sequence[int], barrier: Barrier, target: Shared) -> None:
        line, column = place
        lines, columns = target.shape
        found = self.array[line : line + lines, column : column + columns]
        assert self.past or found.shape == target.shape, f"lines {line} to {line + lines} of {self.array.shape[0]}"
        target.store(0.0)
        target.content[: found.shape[0]] = found
        barrier.change(0, -2 * lines * columns)


here = threading.local()


def specialize(partitions: list[tuple[Callable[..., None], tuple[Any, ...]]], *_: object) -> None:
    """Each partition in a thread; the first error is raised when all have ended."""
    errors: list[BaseException] = []
    place = here.program, here.programs

    def run(function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        here.program, here.programs = place
        try:
            function(*arguments)
        except BaseException as error:
            errors.append(error)
            with Barrier.news:
                Barrier.broken = True
                Barrier.news.notify_all()

    threads = [threading.Thread(target=run, args=partition) for partition in partitions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((error for error in errors if str(error) != "deadlock"), errors[0])


def product(a: Any, b: Shared, acc: Any, use_acc: bool = True, is_async: bool = False) -> Any:
    y = np.asarray(a.content if isinstance(a, Shared) else a) @ b.content
    return value(acc + y if use_acc else y)


def wait(barrier: Barrier, parity: int, pred: bool = True) -> None:
    if pred:
        barrier.wait(parity)


def nothing(*_: object, **__: object) -> None:
    """Layouts, fences, and barriers within a partition."""


language = SimpleNamespace(
    **dict.fromkeys(("BlockedLayout", "SliceLayout", "NVMMADistributedLayout", "DotOperandLayout"), nothing),
    NVMMASharedLayout=SimpleNamespace(get_default_for=nothing),
    constexpr=None,
    int32=torch.int32,
    int64=torch.int64,
    float32=torch.float32,
    static_range=range,
    program_id=lambda _: Scalar(here.program),
    num_programs=lambda _: Scalar(here.programs),
    arange=lambda start, stop, layout: value(np.arange(start, stop)),
    zeros=lambda shape, kind, layout: value(np.zeros(shape, np.float32)),
    expand_dims=lambda x, axis: value(np.expand_dims(x, axis)),
    convert_layout=lambda x, layout: x,
    exp2=lambda x: value(np.exp2(x)),
    where=lambda condition, x, y: value(np.where(condition, x, y)),
    minimum=lambda x, y: value(np.minimum(x, y)),
    maximum=lambda x, y: value(np.maximum(x, y)),
    sum=lambda x, axis: value(np.sum(x, axis)),
    max=lambda x, axis: value(np.max(x, axis)),
    associative_scan=lambda x, axis, function: value(np.cumsum(x, axis)),
    load=lambda pointer, mask=True, other=0: pointer.load(mask, other),
    store=lambda pointer, x, mask=True: pointer.store(x, mask),
    thread_barrier=nothing,
    warp_specialize=specialize,
    allocate_shared_memory=lambda kind, shape, layout: Shared(
        [Barrier() for _ in range(shape[0])] if kind == torch.int64 else np.full(shape, np.nan, np.float32)
    ),
)
names = {
    "gl": language,
    "gluon": SimpleNamespace(jit=lambda function=None, **_: function or (lambda function: function)),
    "mbarrier": SimpleNamespace(
        MBarrierLayout=nothing,
        init=lambda barrier, count: barrier.init(count),
        wait=wait,
        arrive=lambda barrier, count: barrier.change(count, 0),
        expect=lambda barrier, size: barrier.change(1, size),
    ),
    "tma": SimpleNamespace(
        async_copy_global_to_shared=lambda source, at, barrier, target: source.copy(at, barrier, target)
    ),
    "warpgroup_mma": product,
    "warpgroup_mma_wait": lambda outstanding, deps: deps[0] if len(deps) == 1 else tuple(deps),
    "fence_async_shared": nothing,
}


def kernel_on_cpu(name: str, *files: Path) -> Callable[..., None]:
    """run(programs, *arguments) of a kernel whose functions are in these files, in the order of their imports."""
    scope: dict[str, Any] = dict(names)
    for file in files:
        tree = ast.parse(file.read_text())
        kept = (ast.Import, ast.ImportFrom)
        tree.body = [
            node for node in tree.body if not isinstance(node, kept) or getattr(node, "module", "") == "__future__"
        ]
        exec(compile(tree, str(file), "exec"), scope)

    def run(programs: int, *arguments: Any) -> None:
        Barrier.broken = False
        for program in range(programs):
            here.program, here.programs = program, programs
            scope[name](*arguments)

    return run
