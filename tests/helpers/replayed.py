"""Captured steps without a GPU: what would be captured is run anew at each replay, on the input in its fixed place.

All that is around the graphs is the real thing: which graph a step runs, its padding, the transfer, who draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from lightllm_rs.backend import graphs, mixed_graphs, step_graphs, torch_backend
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Staging


class HostStaging(Staging):
    """The fixed place and the turns, in ordinary memory."""

    def __init__(self, words: int, device: torch.device) -> None:
        self.device_words = torch.full((words,), -(2**40), dtype=torch.int64)
        self._array = np.zeros(words, dtype=np.int64)

    def next_array(self) -> np.ndarray:
        self._array[:] = -(2**40)  # nothing may rely on what a step before sent
        return self._array

    def send(self, words: int) -> Tensor:
        self.device_words[:words] = torch.from_numpy(self._array[:words])
        return self.device_words[:words]


class Replayed:
    """In place of `torch.cuda.CUDAGraph`: runs `work` again and leaves its result where the first one is."""

    def __init__(self, work: Callable[[], Tensor]) -> None:
        self._work, self.result = work, work()

    def replay(self) -> None:
        self.result.copy_(self._work())


class NoCapture:
    """In place of `Capture`: nothing may come here."""


def capture_decode(self: graphs.DecodeGraphs, size: int, _: object) -> None:
    inputs = self._inputs(size)
    forward = Replayed(lambda: self._forward(inputs))
    sampling = Replayed(lambda: self._draw(forward.result, inputs))
    self._graphs[size] = graphs.Captured(forward, sampling, forward.result, sampling.result)  # type: ignore[arg-type]


def capture_mixed(self: mixed_graphs.MixedGraphs, size: tuple[int, int], _: object) -> None:
    layout = self._layouts[size]
    graph = Replayed(lambda: self._model(layout.batch(self._inputs[: layout.size], self._features), self._kv))
    self._graphs[size] = graph, graph.result  # type: ignore[assignment]


def draw_copied(self: graphs.DecodeGraphs, rows: StepRows) -> Tensor:
    """A GPU copies the result to the host before the next step runs."""
    return original_draw(self, rows).clone()


original_draw = graphs.DecodeGraphs.draw


@contextmanager
def replayed_graphs() -> Iterator[None]:
    """Within it a backend on a CPU can `capture`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_graphs, "Capture", NoCapture)
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        patch.setattr(graphs.DecodeGraphs, "capture", torch.inference_mode()(capture_decode))
        patch.setattr(graphs.DecodeGraphs, "draw", draw_copied)
        patch.setattr(mixed_graphs.MixedGraphs, "capture", torch.inference_mode()(capture_mixed))
        patch.setattr(torch_backend, "Staging", HostStaging)
        yield
