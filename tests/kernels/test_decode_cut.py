"""How decode attention is cut into programs."""

from __future__ import annotations

import pytest
import torch

from lightllm_rs.backend.graphs import batch_sizes
from lightllm_rs.backend.prefix_work import PREFIX_ROWS
from lightllm_rs.backend.step_graphs import rehearsed_sizes
from lightllm_rs.kernels.paged_decode_attention import cut as cuts
from lightllm_rs.kernels.paged_decode_attention.cut import Cut, cut_for

MEASURED = {"cuts": [{"least": 16, "most": 132, "block_n": 128, "warps": 8, "stages": 5}]}


def cut(rows: int, kv_heads: int = 8, tokens: int = 8192, head_dim: int = 128) -> Cut:
    q = torch.empty(rows, 4 * kv_heads, head_dim, dtype=torch.bfloat16, device="meta")
    cache = torch.empty(2, 64, kv_heads, head_dim, dtype=torch.bfloat16, device="meta")
    return cut_for(q, cache, tokens)


def test_rows_are_cut_into_parts_until_a_gpu_is_busy() -> None:
    assert [cut(rows).splits for rows in (1, 2, 3, 4, 8, 16, 32, 33, 256)] == [32, 16, 8, 8, 4, 2, 2, 1, 1]
    assert cut(1, 1).splits == 64
    assert [cut(1, tokens=tokens).splits for tokens in (100, 128, 1000)] == [1, 1, 4]
    assert cut(1)[1:] == (64, 4, 3)
    assert cut(1, head_dim=256)[1:] == (32, 4, 3)


def test_what_was_measured_is_taken_where_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def tuned(device: torch.device, kernel: str, *key: int) -> dict[str, object]:
        asked.append((kernel, *key))
        return MEASURED

    monkeypatch.setattr(cuts, "tuned", tuned)
    assert [cut(rows) for rows in (2, 3, 8, 9, 16)] == [Cut(splits, 128, 8, 5) for splits in (8, 4, 2, 1, 1)]
    assert cut(4, tokens=256).splits == 2
    assert {cut(rows)[1:] for rows in (1, 17)} == {(64, 4, 3)}
    assert set(asked) == {("paged_decode_attention", 128, 64, 16)}


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 4, 8, 16, 32])
@pytest.mark.parametrize("measured", [None, MEASURED])
def test_what_a_start_compiles_are_the_cuts_of_all_steps(
    monkeypatch: pytest.MonkeyPatch, kv_heads: int, measured: dict[str, object] | None
) -> None:
    """Else a step has a kernel compiled, and all streams stand still for a second."""
    monkeypatch.setattr(cuts, "tuned", lambda *_: measured)
    for few in (True, False):  # with few rows there are no shared prefixes, which is another kernel
        sizes = [size for size in rehearsed_sizes(batch_sizes(256)) if (size < PREFIX_ROWS) == few]
        rows = range(1, PREFIX_ROWS) if few else range(PREFIX_ROWS, 257)
        assert {cut(row, kv_heads) for row in rows} <= {cut(size, kv_heads) for size in sizes}
