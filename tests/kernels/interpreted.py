"""The small cases on the CPU, through Triton's interpreter. test_interpreter.py runs this file in a process of its own,
because TRITON_INTERPRET counts only when it is set before triton is imported."""

from __future__ import annotations

import os
from itertools import accumulate

import numpy as np
import pytest
import torch
import triton.language as tl
import triton.runtime.interpreter as interpreter

from helpers import kernel_cases as cases
from helpers.attention_cases import Paged, decode_case, prefill_case, prefix_case
from helpers.kernel_checks import assert_close
from lightllm_rs.kernels.fp8 import FP8, to_fp8
from lightllm_rs.kernels.paged_decode_attention.cut import Cut
from lightllm_rs.kernels.paged_decode_attention.kernel import paged_decode_attention_triton
from lightllm_rs.kernels.paged_decode_attention.long_rows import MIN_PART, long_rows, room_for
from lightllm_rs.kernels.paged_decode_attention.prefixes import ITEM_WORDS, SharedPrefixes
from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference

assert os.environ.get("TRITON_INTERPRET") == "1", "run by test_interpreter.py"

original_patch = interpreter._patch_lang_tensor


def patch_lang_tensor(tensor: type, scope: interpreter._LangPatchScope) -> None:
    """Triton 3.6 takes int() of an array of one element for a loop's bounds, which numpy 2.4 refuses."""
    original_patch(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


interpreter._patch_lang_tensor = patch_lang_tensor
original_convert = interpreter._convert_float
TORCH = {tl.float32: torch.float32, tl.float16: torch.float16, tl.bfloat16: torch.bfloat16, tl.float8e4nv: FP8}


def convert_float(data: np.ndarray, source: tl.dtype, target: tl.dtype, rounding: object) -> np.ndarray:
    """Triton 3.6's interpreter loses the carry when it rounds to 8-bit floats up to a power of two: torch does not."""
    if tl.float8e4nv not in (source, target):
        return original_convert(data, source, target, rounding)
    bits = {1: np.uint8, 2: np.uint16, 4: np.uint32}
    tensor = torch.from_numpy(np.ascontiguousarray(data).view(bits[data.itemsize])).view(TORCH[source])
    tensor = to_fp8(tensor) if target == tl.float8e4nv else tensor.to(TORCH[target])
    return tensor.view({1: torch.uint8, 2: torch.uint16, 4: torch.uint32}[tensor.itemsize]).numpy()


interpreter._convert_float = convert_float


# The interpreter's matrix product takes bfloat16 for integers, so attention runs there in the other two.
PRODUCTS = (decode_case, prefix_case, prefill_case)
RUNS = [
    (case, dtype)
    for case in cases.SMALL
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
    if dtype != torch.bfloat16 or case[0] not in PRODUCTS
]


@pytest.mark.parametrize(("case", "dtype"), RUNS, ids=cases.identity)
def test_kernel_against_reference(case: cases.Case, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check, arguments = case
    check("cpu", dtype, *arguments)


@pytest.mark.parametrize(
    ("rows", "splits", "tile"), [(2, 16, 64), (5, 4, 128), (40, 1, 64), (700, 1, 32), (1500, 1, 64)]
)
def test_long_rows_are_cut_into_parts_that_have_room(rows: int, splits: int, tile: int) -> None:
    """Whatever the lengths, extra parts fit their room, and each belongs to the row whose turn it is."""
    for spread in (0.1, 1.0, 2.0, 4.0):
        torch.manual_seed(rows)
        own = (torch.randn(rows) * spread + 6).exp().clamp(max=100_000).to(torch.int32)
        own[rows // 2] = 0
        prefixes = torch.randint(0, 500, (rows,), dtype=torch.int32) * (own > 0)
        shared = SharedPrefixes(torch.zeros(1, ITEM_WORDS, dtype=torch.int32), prefixes, torch.zeros_like(prefixes))
        words, counters = long_rows(own + prefixes, shared, splits, tile, rows + 1, None)
        (extra, limit, part), begins = words[:3].tolist(), words[3 : 3 + rows].tolist()
        counts = [-(-tokens // part) if tokens > limit else 0 for tokens in own.tolist()]
        assert not counters.any()
        assert part % tile == 0
        assert part >= MIN_PART
        assert limit >= part * splits
        assert extra == sum(counts) <= room_for(rows, splits)
        assert not extra or begins == [0, *accumulate(counts)][:-1]
        assert words[3 + rows :][:extra].tolist() == [row for row, count in enumerate(counts) for _ in range(count)]
        if spread == 0.1:
            assert extra == 0, "a row among others like it is not long"
        elif spread >= 2 and rows >= 40:
            assert extra > 0


def test_padding_makes_no_row_long() -> None:
    lengths = torch.tensor([600] * 5 + [1] * 3, dtype=torch.int32)
    words, _ = long_rows(lengths, None, 2, 64, 9, None)
    assert int(words[0]) == 0
    words, _ = long_rows(torch.ones(8, dtype=torch.int32), None, 2, 64, 9, None)
    assert int(words[0]) == 0
    lengths[2] = 4000
    words, _ = long_rows(lengths, None, 2, 64, 9, None)
    assert int(words[0]) > 0


def test_calls_of_a_step_leave_their_counters_at_zero() -> None:
    torch.manual_seed(0)
    paged = Paged.of([9, 2000, 3, 700, 4, 5, 6, 8], 16, 2, 16, torch.float32, "cpu")
    shared: dict[str, torch.Tensor] = {}
    for _ in range(2):
        q, out = torch.randn(8, 4, 16), torch.full((8, 4, 16), float("nan"))
        arguments = (q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
        paged_decode_attention_triton(*arguments, out, shared=shared, cut=Cut(2, 64, 4, 3))
        assert_close(out, paged_decode_attention_reference(*arguments), torch.float32)
        assert int(shared["decode long rows"][0]) > 0
        assert not shared["decode counters"].any()
