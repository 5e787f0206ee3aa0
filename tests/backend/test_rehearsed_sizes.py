"""Which kinds of steps a start goes through so that all kernels are compiled."""

from __future__ import annotations

import pytest

from lightllm_rs.backend.mixed_graphs import FEW_TOKENS, decode_sizes, mixed_sizes
from lightllm_rs.backend.step_graphs import rehearsed_pairs


@pytest.mark.parametrize("slots", [1, 4, 48, 256, 1024])
def test_every_number_of_rows_and_of_tokens_beside_the_fewest(slots: int) -> None:
    captured = mixed_sizes(slots, 8192)
    found = rehearsed_pairs(captured)
    assert set(found) <= set(captured)
    assert {rows for rows, _ in found} == set(decode_sizes(slots))
    assert {tokens for _, tokens in found} >= set(FEW_TOKENS)
    assert max(tokens for _, tokens in found) == max(tokens for _, tokens in captured)
    assert len(found) < len(decode_sizes(slots)) + 2 * len(FEW_TOKENS)


def test_nothing_to_go_through() -> None:
    assert rehearsed_pairs(mixed_sizes(4, 32)) == []
