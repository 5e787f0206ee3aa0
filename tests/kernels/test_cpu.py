"""The CPU paths: the fast ones against the references, and the references against code that is not ours."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from helpers.attention_cases import Paged
from helpers.kernel_checks import assert_close, randn
from lightllm_rs.kernels.paged_decode_attention import paged_decode_attention
from lightllm_rs.kernels.paged_decode_attention.reference import paged_decode_attention_reference
from lightllm_rs.kernels.paged_prefill_attention import paged_prefill_attention
from lightllm_rs.kernels.paged_prefill_attention.reference import paged_prefill_attention_reference
from lightllm_rs.kernels.rms_norm import rms_norm
from lightllm_rs.kernels.rotary_kv import rotary_kv
from lightllm_rs.kernels.silu_mul import silu_mul

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
# Without padding, padded in one call, one call a row, empty rows, a single row.
LENGTHS = [[48, 48, 48], [30, 33, 47, 21], [1, 500, 3, 2], [0, 5, 6], [17], [0, 0]]


@DTYPES
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim", "page_size"), [(9, 3, 64, 16), (4, 4, 80, 1), (6, 1, 16, 7)])
def test_decode_attention(
    lengths: list[int], heads: int, kv_heads: int, head_dim: int, page_size: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, "cpu")
    q = randn(len(lengths), heads, head_dim, dtype=dtype, device="cpu")
    out = torch.full_like(q, float("nan"))
    paged_decode_attention(q, paged.k, paged.v, paged.table, paged.lengths, 0.2, out)
    expected = paged_decode_attention_reference(q, paged.k, paged.v, paged.table, paged.lengths, 0.2)
    assert_close(out, expected, dtype)


@DTYPES
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim", "page_size"), [(9, 3, 64, 16), (4, 4, 80, 1), (6, 1, 16, 7)])
def test_prefill_attention(heads: int, kv_heads: int, head_dim: int, page_size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    news, lengths = [5, 1, 33, 20, 1], [5, 1, 70, 20, 64]
    paged = Paged.of(lengths, page_size, kv_heads, head_dim, dtype, "cpu")
    starts = torch.tensor([0, *itertools.accumulate(news)], dtype=torch.int32)
    q = randn(sum(news), heads, head_dim, dtype=dtype, device="cpu")
    out = torch.full_like(q, float("nan"))
    shared = (q, paged.k, paged.v, paged.table, starts, paged.lengths, 0.2)
    paged_prefill_attention(*shared, out)
    assert_close(out, paged_prefill_attention_reference(*shared), dtype)


def test_prefill_reference_against_torch() -> None:
    torch.manual_seed(0)
    length, heads, head_dim = 37, 4, 16
    paged = Paged.of([length], 8, heads, head_dim, torch.float32, "cpu")
    q = torch.randn(length, heads, head_dim)
    starts = torch.tensor([0, length], dtype=torch.int32)
    out = paged_prefill_attention_reference(q, paged.k, paged.v, paged.table, starts, paged.lengths, 0.3)
    pages = paged.table[0, : -(-length // 8)]
    k, v = (cache[pages].view(-1, heads, head_dim)[:length].transpose(0, 1) for cache in (paged.k, paged.v))
    expected = F.scaled_dot_product_attention(q.transpose(0, 1), k, v, is_causal=True, scale=0.3)
    assert_close(out, expected.transpose(0, 1), torch.float32)


@DTYPES
def test_rms_norm_against_torch(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, residual, weight = (torch.randn(5, 63).to(dtype), torch.randn(5, 63).to(dtype), torch.randn(63).to(dtype))
    y, total = rms_norm(x, weight, 1e-5, residual)
    assert torch.equal(total, x + residual)
    assert_close(y, F.rms_norm((x + residual).float(), (63,), weight.float(), 1e-5), dtype)
    alone, same = rms_norm(x, weight, 1e-5)
    assert same is x
    assert_close(alone, F.rms_norm(x.float(), (63,), weight.float(), 1e-5), dtype)


@DTYPES
def test_silu_mul_against_torch(dtype: torch.dtype) -> None:
    gate_up = (torch.randn(5, 66) * 3).to(dtype)
    assert_close(silu_mul(gate_up), F.silu(gate_up[:, :33].double()) * gate_up[:, 33:].double(), dtype)


def test_rotary_turns_each_pair_and_fills_the_slots() -> None:
    """Against complex multiplication: element i of a head pairs with element i + head_dim / 2."""
    torch.manual_seed(0)
    tokens, heads, kv_heads, head_dim = 5, 4, 2, 8
    qkv = torch.randn(tokens, (heads + 2 * kv_heads) * head_dim)
    angles = torch.rand(tokens, head_dim // 2) * 6
    cos, sin = angles.cos(), angles.sin()
    rope = torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)), 1)
    k_cache, v_cache = torch.zeros(4, 3, kv_heads, head_dim), torch.zeros(4, 3, kv_heads, head_dim)
    slots = torch.tensor([7, 0, -1, 11, 3])
    q = rotary_kv(qkv, rope, k_cache, v_cache, slots)
    rows = qkv.view(tokens, -1, head_dim)
    turned = torch.complex(*rows.split(head_dim // 2, -1)) * torch.polar(torch.ones_like(angles), angles)[:, None]
    expected = torch.cat((turned.real, turned.imag), -1)
    torch.testing.assert_close(q, expected[:, :heads])
    flat_k, flat_v = k_cache.view(-1, kv_heads, head_dim), v_cache.view(-1, kv_heads, head_dim)
    for token, slot in enumerate(slots.tolist()):
        if slot >= 0:
            torch.testing.assert_close(flat_k[slot], expected[token, heads : heads + kv_heads])
            assert torch.equal(flat_v[slot], rows[token, heads + kv_heads :])
    unused = [slot for slot in range(12) if slot not in slots.tolist()]
    assert not flat_k[unused].any()
    assert not flat_v[unused].any()
