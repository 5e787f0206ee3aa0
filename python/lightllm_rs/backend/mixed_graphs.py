"""Captured CUDA graphs of small steps that prefill: what holds up an eager step is its launches, not the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.mixed_layout import PREFILL_ROWS, MixedLayout
from lightllm_rs.backend.span_features import SpanFeatures
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM

TOKENS = (64, 128, 256, 512, 768, 1024)
"""Prefill tokens of the graphs. Beyond the last the GPU works longer than the launches of an eager step take."""


def decode_sizes(slots: int) -> list[int]:
    """Decode rows of the graphs, ascending."""
    return sorted({size for size in (8, 32, 64, 128) if size < slots} | {slots})


def token_sizes(context: int) -> list[int]:
    """Prefill tokens of the graphs, ascending."""
    return [tokens for tokens in TOKENS if tokens <= context]


class MixedGraphs:
    """Graphs of the forward pass of decode rows and prefill rows together, up to each row's final hidden state.

    A step runs the smallest graph that has room for it.

    images: features of pictures, None where this rank has none.
    """

    def __init__(
        self, model: CausalLM, kv: KvCache, state: DeviceState, pool: Any, images: SpanFeatures | None
    ) -> None:
        self._decodes = decode_sizes(state.capacity.slots)
        self._tokens = token_sizes(state.capacity.context)
        self._sees = model.config.vision is not None
        layouts = [
            MixedLayout(decodes, tokens, state, sees=self._sees) for decodes in self._decodes for tokens in self._tokens
        ]
        room = max((layout.size for layout in layouts), default=0)
        self._inputs = torch.zeros(room, dtype=torch.int64, device=state.device)
        self._features = images.room(self._tokens[-1]) if images is not None and self._tokens else None
        self._graphs: dict[tuple[int, int], tuple[MixedLayout, torch.cuda.CUDAGraph, Tensor]] = {}
        for layout in reversed(layouts):  # the largest first: the others fit into its memory
            graph, hidden = self._capture(layout, model, kv, pool)
            self._graphs[layout.decodes, layout.tokens] = layout, graph, hidden
        torch.cuda.synchronize()

    def __len__(self) -> int:
        return len(self._graphs)

    def fits(self, rows: StepRows) -> bool:
        """Whether a graph has room for the step."""
        prefills = rows.slots.size - rows.decode_rows
        few = 0 < prefills <= PREFILL_ROWS and rows.decode_rows <= self._decodes[-1]
        return few and bool(self._tokens) and rows.token_ids.size <= self._tokens[-1] and rows.prompt is None

    def pack(self, rows: StepRows, packed: Packed) -> None:
        """Adds the graph's input, and which of its outputs are wanted, to a transfer."""
        layout, _, _ = self._graph(rows)
        packed.add("graph.inputs", layout.array(rows))
        if rows.images is not None:
            packed.add("graph.images", rows.images.tokens - rows.decode_rows)
        packed.add("graph.outputs", layout.outputs(np.concatenate([rows.emitting, rows.silent]), rows.decode_rows))

    def run(self, rows: StepRows, packed: Packed, features: Tensor | None) -> Tensor:
        """The final hidden states of the emitting rows, then of the silent ones: [n, hidden].

        features: [N, width] of the N tokens that stand for pictures, if there are any and this rank has them.
        """
        layout, graph, hidden = self._graph(rows)
        self._inputs[: layout.size].copy_(packed["graph.inputs"])
        if features is not None and self._features is not None:
            self._features.index_copy_(0, packed["graph.images"], features)
        graph.replay()
        return hidden.index_select(0, packed["graph.outputs"])

    def _graph(self, rows: StepRows) -> tuple[MixedLayout, torch.cuda.CUDAGraph, Tensor]:
        decodes = next(size for size in self._decodes if size >= rows.decode_rows)
        return self._graphs[decodes, next(size for size in self._tokens if size >= rows.token_ids.size)]

    @torch.inference_mode()
    def _capture(
        self, layout: MixedLayout, model: CausalLM, kv: KvCache, pool: Any
    ) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        inputs = self._inputs[: layout.size]
        inputs.copy_(torch.from_numpy(layout.array(None)))
        model(layout.batch(inputs, self._features), kv)  # compiles kernels, which a capture must not
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            hidden: Tensor = model(layout.batch(inputs, self._features), kv)
        return graph, hidden
