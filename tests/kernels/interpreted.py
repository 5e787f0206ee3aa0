"""The small cases on the CPU, through Triton's interpreter. test_interpreter.py runs this file in a process of its own,
because TRITON_INTERPRET counts only when it is set before triton is imported."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import triton.language as tl
import triton.runtime.interpreter as interpreter

from helpers import kernel_cases as cases
from helpers.attention_cases import decode_case, prefill_case, prefix_case
from lightllm_rs.kernels.fp8 import FP8, to_fp8

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
