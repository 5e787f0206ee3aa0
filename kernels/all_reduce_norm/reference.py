"""The same with the parts of all ranks in one place, in plain torch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..rms_norm.reference import rms_norm_reference


def all_reduce_norm_reference(
    parts: Sequence[Tensor], weight: Tensor, eps: float, residual: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(norm(s) * weight, s), s the float32 sum of `parts` [T, hidden] and `residual`, rounded once to their dtype."""
    wide = [part.float() for part in parts] + ([] if residual is None else [residual.float()])
    total = wide[0]
    for part in wide[1:]:
        total = total + part
    return rms_norm_reference(total.to(parts[0].dtype), weight, eps)
