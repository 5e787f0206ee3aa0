"""Attention of tokens to all tokens of their own segment: of vision towers, which encode many pictures at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # before torch 2.10
    varlen_attn = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Segments:
    """Consecutive tokens that attend to each other; a length for each segment, none of them 0.

    lengths: on the host. bounds: int32 [segments + 1] on the device, first token of each, and the end.
    """

    lengths: tuple[int, ...]
    bounds: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Segments:
        bounds = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return cls(tuple(lengths), bounds.to(device, non_blocking=True))

    @cached_property
    def longest(self) -> int:
        return max(self.lengths)

    def runs(self) -> Iterator[tuple[int, int]]:
        """(segments, tokens of each) of neighbours of the same length."""
        for length, group in groupby(self.lengths):
            yield sum(1 for _ in group), length


def segment_attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v within each segment. q, k, v and the result: [T, heads, head_dim]."""
    if fits_varlen(q):
        longest = segments.longest
        out = varlen_attn(q, k, v, segments.bounds, segments.bounds, longest, longest)
        assert isinstance(out, Tensor), "nothing beside it is asked for"
        return out
    parts = []
    start = 0
    for count, length in segments.runs():
        end = start + count * length
        a, b, c = (x[start:end].view(count, length, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(a, b, c)
        parts.append(mixed.transpose(1, 2).reshape(end - start, *q.shape[1:]))
        start = end
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def fits_varlen(q: Tensor) -> bool:
    """Whether torch's flash attention over variable lengths takes q: on a GPU, of 16 bits, in heads of whole 16
    bytes."""
    half = q.dtype in (torch.float16, torch.bfloat16)
    return varlen_attn is not None and q.is_cuda and half and q.shape[-1] % 8 == 0 and q.shape[-1] <= 256
