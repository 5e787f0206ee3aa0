"""The small cases as compiled code, for `make sanitize`: compute-sanitizer looks at every access of memory.

Each allocation is one of the driver's own, so that a step past a tensor's end does not fall into the next tensor.
"""

from __future__ import annotations

import os

import pytest
import torch

from helpers import kernel_cases as cases

assert os.environ.get("PYTORCH_NO_CUDA_MEMORY_CACHING") == "1", "run by make sanitize"

pytestmark = pytest.mark.gpu

DTYPES = (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=cases.identity)
@pytest.mark.parametrize("case", cases.SMALL, ids=cases.identity)
def test_kernel_against_reference(case: cases.Case, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check, arguments = case
    check("cuda", dtype, *arguments)
