"""Prefill attention for Hopper without one: its source on NumPy, and where it is used."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.attention_cases import Paged
from helpers.gluon_on_cpu import Pointer, Scalar, Source, kernel_on_cpu
from helpers.kernel_checks import assert_close, randn
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.paged_prefill_attention import hopper
from lightllm_rs.kernels.paged_prefill_attention.reference import paged_prefill_attention_reference

FOLDER = Path(hopper.__file__).parent
PAGE, HEAD_DIM = 64, 128
KEY = ("paged_prefill_attention", HEAD_DIM, PAGE, 16)


def array(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.float() if tensor.is_floating_point() else tensor.long()).numpy()


@pytest.mark.parametrize("cut", [(128, 2), (64, 4)])
@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 2), (2, 2)])
@pytest.mark.parametrize(
    ("programs", "rows"),
    [
        (1, [(1, 1)]),
        (3, [(70, 70), (1, 200), (40, 300), (0, 5), (33, 128), (5, 65)]),
        (4, [(257, 257), (3, 259)]),
        (64, [(130, 700)]),
    ],
)
def test_against_the_reference(
    rows: list[tuple[int, int]], programs: int, heads: int, kv_heads: int, cut: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    block_n, stages = cut
    paged = Paged.of([length for _, length in rows], PAGE, kv_heads, HEAD_DIM, torch.bfloat16, "cpu")
    starts = torch.tensor([0, *accumulate(new for new, _ in rows)], dtype=torch.int32)
    q = randn(int(starts[-1]), heads, HEAD_DIM, dtype=torch.bfloat16, device="cpu")
    out = np.full(q.shape, np.nan, np.float32)
    pack = heads // kv_heads
    kernel = kernel_on_cpu(
        "hopper_prefill_kernel", *(FOLDER / f"{name}.py" for name in ("units", "producer", "consumer", "kernel"))
    )
    kernel(
        programs,
        Source(array(q.flatten(1)), past=True),
        Source(array(paged.k.view(-1, kv_heads * HEAD_DIM))),
        Source(array(paged.v.view(-1, kv_heads * HEAD_DIM))),
        *(Pointer(array(tensor)) for tensor in (paged.table, starts, paged.lengths)),
        Pointer(out),
        Scalar(paged.table.shape[1]),
        Scalar(len(rows)),
        0.2 * 1.4426950408889634,
        *(heads, kv_heads, HEAD_DIM, PAGE, pack, block_n, hopper.ROWS, stages),
    )
    expected = paged_prefill_attention_reference(q, paged.k, paged.v, paged.table, starts, paged.lengths, 0.2)
    assert_close(torch.from_numpy(out).to(q.dtype), expected, q.dtype)


def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"block_n": 128, "stages": 2, "least": 32_000}
    monkeypatch.setattr(hopper, "tuned", lambda *key: found if key[1:] == (*KEY, "hopper") else None)
    q, cache = torch.empty(1000, 32, 128, dtype=torch.bfloat16), torch.empty(1, 64, 8, 128, dtype=torch.bfloat16)
    assert hopper.cut_for(q, cache, 64) == hopper.Cut(**found)
    assert hopper.cut_for(q, cache, 65) is None, "more rows than it holds"
    assert hopper.cut_for(q[:999], cache, 1) is None, "too little work"
    assert hopper.cut_for(q, cache.to(FP8), 1) is None, "it widens nothing"
    assert hopper.cut_for(q, cache[:, :32], 1) is None, "not measured"
    assert hopper.cut_for(q, cache[:, :, :2], 1) is None, "a group of 16"
    monkeypatch.setattr(hopper.triton, "__version__", "3.5.1")
    assert hopper.cut_for(q, cache, 1) is None, "no Gluon"
