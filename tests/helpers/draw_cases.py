"""Checks of the kernel that draws tokens."""

from __future__ import annotations

import numpy as np
import torch

from helpers.kernel_checks import randn
from lightllm_rs.kernels.draw_tokens.kernel import draw_tokens_triton
from lightllm_rs.kernels.draw_tokens.reference import draw_tokens_reference

SETTINGS = [
    (0.0, 1.0, 0.0, 0),
    (1.0, 1.0, 0.0, 0),
    (0.8, 0.9, 0.0, 0),
    (1.2, 1.0, 0.0, 40),
    (1.0, 0.95, 0.05, 20),
    (1.5, 0.3, 0.0, 0),
    (1.0, 1.0, 0.1, 0),
    (1.0, 1.0, 0.0, 1),
    (0.01, 1.0, 0.0, 0),
]


"""Temperature, top_p, min_p and top_k."""


def draw_case(device: str, dtype: torch.dtype, rows: int, vocab: int, limited: bool, changed: bool) -> None:
    """`changed` logits may hold infinities; whether they were good is known before."""
    logits = randn(rows, vocab + 3, dtype=dtype, device=device)[:, :vocab] * 3
    good = torch.ones(rows, dtype=torch.bool, device=device)
    if changed:
        logits[:, 1 :: max(2, vocab // 7)] = -torch.inf
        good[rows // 2] = False
    elif rows > 2:
        logits[1, vocab // 2], logits[rows - 1, vocab - 1] = float("nan"), float("inf")
    slots = torch.randperm(rows + 2)[:rows].to(device)
    floats, integers = torch.full((rows + 2, 6), float("nan")), torch.full((rows + 2, 2), -1)
    for row, slot in enumerate(slots.tolist()):
        *of_row, top_k = SETTINGS[row % len(SETTINGS)]
        floats[slot, :3], integers[slot] = torch.tensor(of_row), torch.tensor([row * 2**54, top_k])
    positions = torch.arange(rows, dtype=torch.int32, device=device) * 31
    last = torch.full((2, rows + 2), -1, device=device)
    shared = (logits, slots, positions, floats.to(device), integers.to(device))
    kwargs = {"limited": limited, "good": good if changed else None}
    with np.errstate(all="ignore"):  # numbers that are not finite, in the interpreter
        drawn = draw_tokens_triton(*shared, last[0], **kwargs)
    expected = draw_tokens_reference(*shared, last[1], **kwargs)
    assert drawn[1].tolist() == expected[1].tolist()
    fine = drawn[1] == 1
    assert int((drawn[0] != expected[0])[fine].sum()) <= rows // 50  # at borders sums round differently
    assert bool(((drawn[0] >= 0) & (drawn[0] < vocab)).all())
    assert last[0, slots].tolist() == drawn[0].tolist()
    assert int((last[0] == -1).sum()) == 2, "other slots are left alone"
