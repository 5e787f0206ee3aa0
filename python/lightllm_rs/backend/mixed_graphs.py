"""Captured CUDA graphs of small steps that prefill: what holds up an eager step is its launches, not the GPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.capture import Capture
from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.mixed_layout import PREFILL_ROWS, MixedLayout
from lightllm_rs.backend.span_features import SpanFeatures
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Packed, Staging
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM

FEW_TOKENS = (64, 128, 192, 256, 320, 384, 448, 512)
"""Prefill tokens of the graphs of small steps: a prompt of 266 tokens shall not be padded to 512."""

ROWS = (768, 1024, 1280, 1536, 2048)
"""Decode rows and prefill tokens together of larger graphs: whole tiles of a matrix product, which is what the
scheduler fills. Beyond the last the GPU works longer than the launches of an eager step take, on a busy machine too."""


def decode_sizes(slots: int) -> list[int]:
    """Decode rows of the graphs, ascending. The scheduler counts on them (`padded_rows` in its budget.rs)."""
    step = -(-slots // 8 // 32) * 32
    return sorted({size for size in (8, *range(step, slots, step)) if size < slots} | {slots})


def mixed_sizes(slots: int, context: int) -> list[tuple[int, int]]:
    """(decode rows, prefill tokens) of the graphs, ascending."""
    sizes = {(rows, tokens) for rows in decode_sizes(slots) for tokens in FEW_TOKENS}
    sizes |= {(rows, total - rows) for rows in decode_sizes(slots) for total in ROWS if total - rows > FEW_TOKENS[-1]}
    return sorted((rows, tokens) for rows, tokens in sizes if tokens <= context)


class MixedGraphs:
    """Graphs of the forward pass of decode rows and prefill rows together, up to each row's final hidden state.

    A step runs the smallest graph that has room for it.

    Attributes:
        sizes: (decode rows, prefill tokens), ascending; not all of them need be captured.
    """

    def __init__(
        self, model: CausalLM, kv: KvCache, state: DeviceState, staging: Staging, images: SpanFeatures | None
    ) -> None:
        """images: features of pictures, None where this rank has none."""
        self._model, self._kv = model, kv
        self._inputs = staging.device_words  # `pack` puts the input at its beginning
        self.sizes = mixed_sizes(state.capacity.slots, state.capacity.context)
        sees = model.config.vision is not None
        self._layouts = {size: MixedLayout(*size, state, sees=sees) for size in self.sizes}
        most = max((tokens for _, tokens in self.sizes), default=0)
        self._features = images.room(most) if images is not None and most else None
        self._graphs: dict[tuple[int, int], tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    @torch.inference_mode()
    def rehearse(self, size: tuple[int, int]) -> None:
        """Runs two layers on padding: compiles and loads kernels, which a capture must not."""
        layout = self._layouts[size]
        inputs = self._inputs[: layout.size]
        inputs.copy_(torch.from_numpy(layout.array(None)))
        with self._model.outer_layers_only():
            self._model(layout.batch(inputs, self._features), self._kv)

    @torch.inference_mode()
    def capture(self, size: tuple[int, int], capture: Capture) -> None:
        """Captures the graph of a size that was rehearsed. The largest come first: the others fit into its memory."""
        layout, graph = self._layouts[size], torch.cuda.CUDAGraph()
        with capture(graph):
            hidden: Tensor = self._model(layout.batch(self._inputs[: layout.size], self._features), self._kv)
        self._graphs[size] = graph, hidden

    def fits(self, rows: StepRows) -> bool:
        """Whether a graph that is captured by now has room for the step."""
        prefills = rows.slots.size - rows.decode_rows
        few = 0 < prefills <= PREFILL_ROWS and rows.prompt is None
        return few and self._size(rows) is not None

    def pack(self, rows: StepRows, packed: Packed) -> None:
        """Adds the graph's input, and which of its outputs are wanted, to a transfer in which nothing comes before."""
        layout = self._layouts[self._found(rows)]
        packed.add("graph.inputs", layout.array(rows))
        if rows.images is not None:
            packed.add("graph.images", rows.images.tokens - rows.decode_rows)
        packed.add("graph.outputs", layout.outputs(np.concatenate([rows.emitting, rows.silent]), rows.decode_rows))

    def run(self, rows: StepRows, packed: Packed, features: Tensor | None) -> Tensor:
        """The final hidden states of the emitting rows, then of the silent ones: [n, hidden].

        features: [N, width] of the N tokens that stand for pictures, if there are any and this rank has them.
        """
        graph, hidden = self._graphs[self._found(rows)]
        if features is not None and self._features is not None:
            self._features.index_copy_(0, packed["graph.images"], features)
        graph.replay()
        return hidden.index_select(0, packed["graph.outputs"])

    def _size(self, rows: StepRows) -> tuple[int, int] | None:
        """The smallest with room that is captured, few tokens counting before few rows."""
        decodes, tokens = rows.decode_rows, rows.token_ids.size
        fitting = (size for size in self._graphs if size[0] >= decodes and size[1] >= tokens)
        return min(fitting, key=lambda size: (size[1], size[0]), default=None)

    def _found(self, rows: StepRows) -> tuple[int, int]:
        size = self._size(rows)
        assert size is not None, "a graph fits before it runs"
        return size
