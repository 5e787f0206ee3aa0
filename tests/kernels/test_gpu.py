"""The Triton kernels as compiled code, in every dtype. Run on a GPU host with `pytest -m gpu`."""

from __future__ import annotations

import pytest
import torch
import triton

if not torch.cuda.is_available():
    pytest.skip("needs a CUDA device", allow_module_level=True)

from helpers import kernel_cases as cases
from helpers.attention_cases import Paged, prefill_case
from helpers.kernel_checks import assert_close, randn
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.paged_prefill_attention.hopper import Cut, has_gluon
from lightllm_rs.kernels.paged_prefill_attention.kernel import Tile

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
    paged = Paged.of(lengths, 16, 8, 128, dtype, "cuda")
    q = randn(len(lengths), 32, 128, dtype=dtype, device="cuda")
    paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)  # compile outside of the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)
    for drop in (0, 1, 2):
        q.normal_()
        paged.lengths.copy_(torch.tensor([max(0, length - 5 * drop) for length in lengths], dtype=torch.int32))
        graph.replay()
        expected = paged_decode_attention_reference(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)
        assert_close(out, expected, dtype)


@pytest.mark.parametrize("rows", [5, 64])
def test_decode_attention_of_uneven_rows_in_a_captured_graph(rows: int) -> None:
    """Which rows are long changes from step to step; each layer leaves the queue and the counters as it found them."""
    from lightllm_rs.kernels.paged_decode_attention import paged_decode_attention
    from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference

    torch.manual_seed(0)
    dtype = torch.bfloat16
    paged = Paged.of([9000, 7000, *[500] * (rows - 2)], 64, 8, 128, dtype, "cuda")
    q = randn(rows, 32, 128, dtype=dtype, device="cuda")

    def layers() -> list[torch.Tensor]:
        shared: dict[str, torch.Tensor] = {}
        outs = [torch.full_like(q, float("nan")) for _ in range(3)]
        for out in outs:
            paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.1, out, shared=shared)
        return [*outs, shared["decode counters"], shared["decode long rows"]]

    layers()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        *outs, counters, found = layers()
    extra = []
    for first, second, rest in ((9000, 500, 500), (400, 400, 400), (300, 7000, 0), (9000, 7000, 77), (1, 1, 1)):
        paged.lengths.copy_(torch.tensor([first, second, *[rest] * (rows - 2)], dtype=torch.int32))
        q.normal_()
        graph.replay()
        expected = paged_decode_attention_reference(q, paged.k, paged.v, paged.table, paged.lengths, 0.1)
        for out in outs:
            assert_close(out, expected, dtype)
        assert not counters.any()
        extra.append(int(found[0]) > 0)
    assert extra == [True, False, True, True, False]


@pytest.mark.skipif(torch.cuda.get_device_capability() < (9, 0), reason="tensor descriptors need sm_90")
@pytest.mark.parametrize("cache", [None, FP8], ids=cases.identity)
@pytest.mark.parametrize("tile", [Tile(128, 64, 8, 3, True), Tile(64, 64, 4, 3, True), Tile(128, 128, 8, 2, True)])
def test_prefill_attention_by_descriptors(tile: Tile, cache: torch.dtype | None) -> None:
    torch.manual_seed(0)
    rows = [(1000, 1000), (1, 513), (257, 900), (128, 128), (0, 5)]
    prefill_case("cuda", torch.bfloat16, rows, 32, 8, 128, tile.block_n, cache, tile)


@pytest.mark.skipif(
    torch.cuda.get_device_capability() != (9, 0) or not has_gluon(triton.__version__), reason="written for sm_90"
)
@pytest.mark.parametrize(
    ("cut", "heads", "kv_heads", "dtype"),
    [
        (Cut(128, 2, 0), 32, 8, torch.bfloat16),
        (Cut(64, 4, 0), 32, 8, torch.bfloat16),
        (Cut(128, 2, 0), 8, 1, torch.bfloat16),
        (Cut(128, 2, 0), 3, 3, torch.float16),
    ],
)
def test_prefill_attention_by_warps_with_roles(cut: Cut, heads: int, kv_heads: int, dtype: torch.dtype) -> None:
    several = [(1000, 1000), (1, 513), (257, 900), (128, 128), (0, 5)]
    for rows in ([(1, 1)], several, [(300, 4000)], [(15, 515)] * 64):
        torch.manual_seed(0)
        prefill_case("cuda", dtype, rows, heads, kv_heads, 128, 64, cut=cut)
