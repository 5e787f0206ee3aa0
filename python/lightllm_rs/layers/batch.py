"""One ragged batch: the tokens of a step, decode rows first, then prefill rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..kernels.paged_decode_attention import SharedPrefixes
from .image_rows import ImageRows


@dataclass
class Batch:
    """T tokens of D decode rows (exactly one token each: token index == row index) and P prefill rows after them.

    token_ids: int64 [T]; of tokens that stand for pictures any.
    positions: int64 [T], of the rotation; or [3, T] where tokens have one for each axis (M-RoPE).
    slot_pages: int64 [T], where each token's key and value go: page * page_size + offset. A negative entry (the
        padding of a captured graph) is written nowhere.
    decode_page_table: int32 [D, width]; decode_lengths: int32 [D], tokens in the cache, the new one included.
    decode_prefixes: what decode rows share, or None; without it all is read row by row. The CPU path has no use for it.
    prefill_page_table: int32 [P, width]; prefill_starts: int32 [P + 1], first new token of each row, counted from
        token D; prefill_lengths: int32 [P], tokens in the cache, the new ones included.
    output_rows: int64 [O], the tokens whose hidden states go to the head.
    ends: whether these are the last tokens of all rows, in the order of the rows.
    Without decode (prefill) rows their tensors may be None.
    images: the tokens that stand for pictures, or None.
    shared: what the layers work out once a step; empty at first. A batch is used for one forward pass.
    """

    token_ids: Tensor
    positions: Tensor
    slot_pages: Tensor
    output_rows: Tensor
    ends: bool = False
    decode_rows: int = 0
    decode_page_table: Tensor | None = None
    decode_lengths: Tensor | None = None
    decode_prefixes: SharedPrefixes | None = None
    prefill_page_table: Tensor | None = None
    prefill_starts: Tensor | None = None
    prefill_lengths: Tensor | None = None
    images: ImageRows | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def narrows(self) -> bool:
        """Whether the last layer need not go on with all tokens once their keys and values are written."""
        return self.ends and self.output_rows.shape[0] < self.token_ids.shape[0]

    def narrowed(self) -> Batch:
        """The attention of the last tokens of all rows, whose queries are `output_rows`."""
        if self.prefill_lengths is None:
            return self
        rows = self.prefill_lengths.shape[0]
        starts = torch.arange(rows + 1, dtype=torch.int32, device=self.prefill_lengths.device)
        return replace(self, prefill_starts=starts)
