"""Captured CUDA graphs of decode steps: one launch in place of some hundred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.capture import Capture
from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.forward import decode_batch_of
from lightllm_rs.backend.prefix_work import ITEMS, PREFIX_ROWS, prefix_words, prefix_work
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Packed, Staging, rounded
from lightllm_rs.kernels.draw_tokens import draw_tokens
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM


def batch_sizes(slots: int) -> list[int]:
    """Sizes that are captured, ascending: 1, 2, 4, multiples of 8 up to 256 and of 32 beyond, and `slots` itself."""
    sizes = {1, 2, 4, *range(8, 257, 8), *range(288, slots + 1, 32), slots}
    return sorted(size for size in sizes if size <= slots)


@dataclass(frozen=True)
class Inputs:
    """Tensors of one size: slots and positions int64 [size], words of shared prefixes or None."""

    slots: Tensor
    positions: Tensor
    prefixes: Tensor | None


@dataclass(frozen=True)
class Captured:
    """One size.

    Attributes:
        forward: from slots and positions to `hidden`.
        sampling: from `hidden` to `drawn`, the head and a draw for every row; writes the slots' last tokens too.
        hidden: [size, hidden] final hidden states.
        drawn: int64 [2, size]; see `draw_tokens`.
    """

    forward: torch.cuda.CUDAGraph
    sampling: torch.cuda.CUDAGraph
    hidden: Tensor
    drawn: Tensor


class DecodeGraphs:
    """Graphs of decode rows: of the forward pass up to the final hidden states, and of the draw that mostly follows.

    A step with n rows runs the smallest graphs that have room for them; the rest are padding rows of the padding slot.
    Rows that want more than a draw (penalties, log-probabilities) run the sampler after the first graph instead.

    Attributes:
        sizes: batch sizes, ascending.
        largest: the last of them.
    """

    def __init__(self, model: CausalLM, kv: KvCache, state: DeviceState, staging: Staging) -> None:
        self._model, self._kv, self._state, self._words = model, kv, state, staging.device_words
        self.sizes = batch_sizes(state.capacity.slots)
        self.largest = self.sizes[-1]
        self._graphs: dict[int, Captured] = {}

    @torch.inference_mode()
    def rehearse(self, size: int) -> None:
        """Runs two layers, the head and the draw on padding: compiles and loads kernels, which a capture must not."""
        inputs = self._inputs(size)
        inputs.slots.fill_(self._state.padding_slot)
        inputs.positions.zero_()
        if inputs.prefixes is not None:
            inputs.prefixes.zero_()
        with self._model.outer_layers_only():
            self._draw(self._forward(inputs), inputs)

    @torch.inference_mode()
    def capture(self, size: int, capture: Capture) -> None:
        """Captures the graphs of a size that was rehearsed. The largest come first: the others fit into its memory."""
        inputs = self._inputs(size)
        forward, sampling = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with capture(forward):
            hidden = self._forward(inputs)
        with capture(sampling):
            drawn = self._draw(hidden, inputs)
        self._graphs[size] = Captured(forward, sampling, hidden, drawn)

    def _inputs(self, size: int) -> Inputs:
        """Where `pack` puts them: one after the other from the beginning of the transfer."""
        start = rounded(size)
        prefixes = self._words[2 * start :][: prefix_words(size)] if size >= PREFIX_ROWS else None
        return Inputs(self._words[:size], self._words[start:][:size], prefixes)

    def _forward(self, inputs: Inputs) -> Tensor:
        batch = decode_batch_of(inputs.slots, inputs.positions, inputs.prefixes, self._state)
        hidden: Tensor = self._model(batch, self._kv)
        return hidden

    def _draw(self, hidden: Tensor, inputs: Inputs) -> Tensor:
        logits, table = self._model.raw_logits(hidden), self._state.sampling
        settings = (table.floats, table.integers, self._state.last_tokens)
        return draw_tokens(logits, inputs.slots, inputs.positions + 1, *settings, limited=True)

    def fits(self, rows: StepRows) -> bool:
        """Whether the step is one of decode rows that a graph has room for."""
        return rows.decode_rows == rows.slots.size == rows.emitting.size <= self.largest

    def pack(self, rows: StepRows, packed: Packed) -> None:
        """Adds slots, positions and shared prefixes, padded, to a transfer in which nothing comes before them."""
        size = self._size(rows)
        padding = size - rows.slots.size
        packed.add("graph.slots", np.pad(rows.slots, (0, padding), constant_values=self._state.padding_slot))
        packed.add("graph.positions", np.pad(rows.positions, (0, padding)))
        if size >= PREFIX_ROWS:
            packed.add("graph.prefixes", prefix_work(rows.groups, size, rows.page_size).words(ITEMS))

    def run(self, rows: StepRows, packed: Packed, features: Tensor | None) -> Tensor:
        """The final hidden states [n, hidden] of n rows; good until the next run. Decode rows have no features."""
        captured = self._graphs[self._size(rows)]
        captured.forward.replay()
        return captured.hidden[: rows.slots.size]

    def draw(self, rows: StepRows) -> Tensor:
        """int64 [2, n or more], the tokens of the rows that just ran; good until the next run."""
        captured = self._graphs[self._size(rows)]
        captured.sampling.replay()
        return captured.drawn

    def _size(self, rows: StepRows) -> int:
        return next(size for size in self.sizes if size >= rows.slots.size)
