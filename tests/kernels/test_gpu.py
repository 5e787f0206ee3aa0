"""The Triton kernels as compiled code, in every dtype. Run on a GPU host with `pytest -m gpu`."""

from __future__ import annotations

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers import kernel_cases as cases

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=cases.identity)
@pytest.mark.parametrize("case", cases.SMALL + cases.LARGE, ids=cases.identity)
def test_kernel_against_reference(case: cases.Case, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    check, arguments = case
    check("cuda", dtype, *arguments)


def test_decode_attention_in_a_captured_graph() -> None:
    """A captured call follows new lengths, page tables and queries without being captured again."""
    from lightllm_rs.kernels.paged_decode_attention import paged_decode_attention
    from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference

    torch.manual_seed(0)
    dtype, lengths = torch.bfloat16, [700, 3, 1999, 0]
    paged = cases.Paged.of(lengths, 16, 8, 128, dtype, "cuda")
    q = cases.randn(len(lengths), 32, 128, dtype=dtype, device="cuda")
    paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)  # compile outside of the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)
    for drop in (0, 1, 2):
        q.normal_()
        paged.lengths.copy_(torch.tensor([max(0, length - 5 * drop) for length in lengths], dtype=torch.int32))
        graph.replay()
        expected = paged_decode_attention_reference(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)
        cases.assert_close(out, expected, dtype)
