"""The forward pass of a step: the batch on the device, hidden states out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.plan import Array
from lightllm_rs.backend.prefix_work import ITEMS, PREFIX_ROWS, prefix_work, prefixes_of
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.layers.batch import Batch


def pack_batch(rows: StepRows, packed: Packed) -> None:
    """Adds what the device must know of a ragged batch to a transfer."""
    decodes = rows.decode_rows
    prefill_ends = np.cumsum(rows.tokens[decodes:])
    packed.add("decode.slots", rows.slots[:decodes])
    packed.add("decode.lengths", rows.ends[:decodes])
    packed.add("prefill.slots", rows.slots[decodes:])
    packed.add("prefill.lengths", rows.ends[decodes:])
    packed.add("prefill.starts", np.concatenate([np.zeros(1, dtype=np.int64), prefill_ends]))
    packed.add("token_ids", rows.token_ids)
    packed.add("positions", rows.rope.reshape(-1))
    packed.add("cache_indices", rows.cache_indices)
    packed.add("outputs", outputs_of(rows))
    if rows.images is not None:
        packed.add("images", rows.images.tokens)
    if decodes >= PREFIX_ROWS:  # as in graphs, so that steps of both kinds run the same compiled kernels
        packed.add("prefixes", prefix_work(rows.groups, decodes, rows.page_size).words(ITEMS))


def outputs_of(rows: StepRows) -> Array:
    """Indices of the tokens whose hidden states are wanted: the last ones of the rows, then what scores prompts."""
    return rows.last_tokens if rows.prompt is None else np.concatenate([rows.last_tokens, rows.prompt.tokens])


def batch_of(rows: StepRows, packed: Packed, state: DeviceState) -> Batch:
    """The batch of what `pack_batch` added; the decode rows' tokens and all page tables are on the device already."""
    decodes = rows.decode_rows
    width = state.page_table.shape[1]
    if state.device.type == "cpu":
        # The CPU path gathers whole tables; the kernels' grids, on the other hand, shall not change from step to step.
        width = -(-int(rows.ends.max()) // state.capacity.page_size)
    token_ids = packed["token_ids"]
    if decodes:
        token_ids = torch.cat([state.tokens_of(packed["decode.slots"]), token_ids])
    positions = packed["positions"].view(rows.rope.shape)
    batch = Batch(
        token_ids,
        positions,
        packed["cache_indices"],
        packed["outputs"],
        ends=rows.prompt is None,
        decode_rows=decodes,
    )
    if decodes:
        batch.decode_page_table = state.page_tables_of(packed["decode.slots"])[:, :width]
        batch.decode_lengths = packed["decode.lengths"].to(torch.int32)
        if decodes >= PREFIX_ROWS:
            batch.decode_prefixes = prefixes_of(packed["prefixes"], decodes)
    if decodes < rows.slots.size:
        batch.prefill_page_table = state.page_tables_of(packed["prefill.slots"])[:, :width]
        batch.prefill_lengths = packed["prefill.lengths"].to(torch.int32)
        batch.prefill_starts = packed["prefill.starts"].to(torch.int32)
    return batch


def decode_batch_of(slots: Tensor, positions: Tensor, prefixes: Tensor | None, state: DeviceState) -> Batch:
    """The batch of decode rows alone, made on the device: nothing but slots and positions (int64 [n]) is needed, and
    the words of their shared prefixes, where these count.

    All tables have their full width, so that shapes depend on n only and the work can be captured in a graph.
    """
    page_size = state.capacity.page_size
    tables = state.page_tables_of(slots)
    pages = tables.gather(1, (positions // page_size).unsqueeze(-1)).squeeze(-1).to(torch.int64)
    return Batch(
        token_ids=state.tokens_of(slots),
        positions=state.rotary_of(slots, positions),
        slot_pages=pages * page_size + positions % page_size,
        output_rows=torch.arange(slots.shape[0], device=slots.device),
        ends=True,
        decode_rows=slots.shape[0],
        decode_page_table=tables,
        decode_lengths=(positions + 1).to(torch.int32),
        decode_prefixes=None if prefixes is None else prefixes_of(prefixes, slots.shape[0]),
    )
