"""What the interpreter run (CPU) and the GPU run check: each case compares a Triton kernel to its reference."""

from __future__ import annotations

from collections.abc import Callable

from helpers.attention_cases import decode_case, prefill_case, prefix_case
from helpers.draw_cases import draw_case
from helpers.fp8_cases import fp8_block_linear_case, quantize_fp8_case, rms_norm_fp8_case, silu_mul_fp8_case
from helpers.layer_cases import (
    all_reduce_norm_case,
    rms_norm_case,
    rotary_fp8_case,
    rotary_kv_case,
    silu_mul_case,
    skinny_linear_case,
)
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.kernels.paged_prefill_attention.kernel import Tile

Case = tuple[Callable[..., None], tuple[object, ...]]


# Small enough for the interpreter: odd sizes, sizes of one, page sizes that no block divides, every GQA ratio in use.
SMALL: list[Case] = [
    (rms_norm_case, (3, 65, True)),
    (rms_norm_case, (1, 64, False)),
    (rms_norm_case, (5, 1, True)),
    (all_reduce_norm_case, (2, 3, 5, 65, True)),
    (all_reduce_norm_case, (3, 1, 1, 64, False)),
    (silu_mul_case, (3, 1100)),
    (silu_mul_case, (1, 7)),
    (skinny_linear_case, (1, 37, 64, "")),
    (skinny_linear_case, (3, 38, 1160, "bi no re si")),
    (skinny_linear_case, (8, 5, 100, "no re")),
    (skinny_linear_case, (1, 1, 1, "bi no")),
    (rotary_kv_case, (7, 4, 2, 16, 3, False)),
    (rotary_kv_case, (1, 9, 3, 80, 16, True)),
    (rotary_kv_case, (6, 3, 3, 6, 1, True)),
    (decode_case, ([1, 5, 33, 70], 4, 2, 16, 16, None)),
    (decode_case, ([0, 130, 64, 1], 9, 3, 80, 5, 4)),
    (decode_case, ([17], 3, 3, 64, 1, 2)),
    (decode_case, ([40, 2], 16, 1, 8, 256, 1)),
    (decode_case, ([5] * 7 + [1103], 4, 2, 16, 16, 1)),
    (decode_case, ([1500, 0, 1, 7, 3], 9, 3, 80, 5, 2)),
    (prefix_case, ([70, 33, 34, 200], [(1, 2, 2)], 4, 2, 16, 16, None)),
    (prefix_case, ([9, 12, 11, 300, 301, 290], [(0, 3, 1), (3, 3, 57)], 9, 3, 80, 5, 4)),
    (prefix_case, ([600] * 17 + [5], [(0, 17, 8)], 2, 1, 8, 64, 2)),
    (prefix_case, ([80] * 8 + [1300, 3, 2], [(3, 6, 4)], 4, 2, 16, 16, 1)),
    (prefill_case, ([(5, 5), (1, 1), (3, 40)], 4, 2, 16, 16)),
    (prefill_case, ([(33, 70), (40, 40)], 3, 1, 80, 7)),
    (prefill_case, ([(1, 9), (2, 2)], 3, 3, 8, 1)),
    (prefill_case, ([(33, 70), (1, 64), (16, 33), (0, 9), (5, 5)], 4, 2, 16, 16, None, Tile(16, 16, 4, 2, True))),
    (decode_case, ([5, 33], 4, 2, 16, 16, 2, FP8)),
    (prefix_case, ([70, 33, 34], [(1, 2, 2)], 4, 2, 16, 16, None, FP8)),
    (prefill_case, ([(5, 5), (3, 40)], 4, 2, 16, 16, FP8)),
    (quantize_fp8_case, (5, 70, None)),
    (quantize_fp8_case, (3, 96, 32)),
    (quantize_fp8_case, (1, 2, None)),
    (rotary_fp8_case, (7, 4, 2, 16, 3, False)),
    (rms_norm_fp8_case, (3, 65, True)),
    (rms_norm_fp8_case, (1, 64, False)),
    (silu_mul_fp8_case, (3, 70)),
    (fp8_block_linear_case, (3, 70, 256, True)),
    (fp8_block_linear_case, (17, 16, 128, False)),
    (draw_case, (9, 50, True, False)),
    (draw_case, (10, 4500, True, True)),
    (draw_case, (2, 4097, False, False)),
    (draw_case, (1, 1, True, False)),
]


# A GPU host runs these too, in every dtype.
LARGE: list[Case] = [
    (draw_case, (300, 128256, True, False)),
    (draw_case, (300, 32000, False, True)),
    (draw_case, (64, 151936, True, True)),
    (rms_norm_case, (300, 4096, True)),
    (rms_norm_case, (17, 14337, False)),
    (all_reduce_norm_case, (2, 300, 512, 4096, True)),
    (all_reduce_norm_case, (4, 1, 512, 4096, True)),
    (all_reduce_norm_case, (8, 129, 200, 1100, False)),
    (silu_mul_case, (513, 14336)),
    (skinny_linear_case, (1, 6144, 4096, "no")),
    (skinny_linear_case, (1, 28672, 4096, "no si")),
    (skinny_linear_case, (2, 4097, 14336, "re bi")),
    (skinny_linear_case, (4, 2050, 4096, "no re si")),
    *[(skinny_linear_case, (rows, 4096, 4104, "no re si sc")) for rows in (1, 3, 4, 8)],
    *[(rotary_kv_case, (123, 32, 8, head_dim, 16, False)) for head_dim in (64, 80, 96, 128, 256)],
    (rotary_kv_case, (123, 16, 8, 128, 64, True)),
    (rotary_fp8_case, (123, 32, 8, 128, 16, False)),
    (rotary_fp8_case, (123, 16, 8, 128, 64, True)),
    (rms_norm_fp8_case, (300, 4096, True)),
    (rms_norm_fp8_case, (17, 14336, False)),
    (silu_mul_fp8_case, (513, 14336)),
    *[(fp8_block_linear_case, (tokens, 1040, 4096, True)) for tokens in (1, 16, 33, 300)],
    (quantize_fp8_case, (300, 4096, None)),
    (quantize_fp8_case, (65, 14336, None)),
    (quantize_fp8_case, (65, 14336, 128)),
    *[
        (decode_case, ([1, 4000, 77, 0, 1025, 2048], 32, 8, head_dim, page_size, None))
        for head_dim, page_size in ((64, 1), (80, 16), (96, 32), (128, 16), (128, 64), (256, 256))
    ],
    (decode_case, ([3000] * 40, 9, 3, 64, 16, None)),
    (decode_case, ([900], 32, 8, 128, 16, 64)),
    *((decode_case, ([*range(990, 990 + rows)], 32, 8, 128, 64, None)) for rows in (1, 2, 3, 5, 8, 11, 16, 17, 33, 34)),
    *((decode_case, ([*range(300, 299 + rows), 16000], 32, 8, 128, 64, None)) for rows in (2, 16, 33, 64, 255)),
    (decode_case, ([9, 20000, 0, 5000] * 20, 9, 3, 64, 16, None)),
    (decode_case, ([*[40] * 1023, 30000], 4, 2, 64, 16, None)),
    (prefix_case, ([*range(3092, 3154), 7000, 9], [(0, 63, 48)], 32, 8, 128, 64, None)),
    *((prefix_case, ([*range(700, 700 + n)], [(0, n, 8)], 32, 8, 128, 64, None)) for n in (8, 16, 24, 33)),
    *[
        (prefix_case, ([*range(3400 - n, 3400)], [(1, n - 2, 3072 // page_size)], 32, 8, 128, page_size, None))
        for n, page_size in ((6, 16), (40, 16), (64, 64), (200, 128))
    ],
    *[
        (prefill_case, ([(1000, 1000), (1, 513), (257, 900), (128, 128)], heads, kv_heads, head_dim, page_size))
        for heads, kv_heads, head_dim, page_size in (
            (9, 3, 64, 16),
            (8, 2, 80, 1),
            (8, 8, 96, 48),
            (32, 8, 128, 16),
            (4, 1, 256, 256),
        )
    ],
    (decode_case, ([1, 4000, 77, 0, 1025, 2048], 32, 8, 128, 64, None, FP8)),
    (prefix_case, ([*range(3300, 3364)], [(0, 60, 48)], 32, 8, 128, 64, None, FP8)),
    (prefill_case, ([(1000, 1000), (1, 513), (257, 900)], 32, 8, 128, 16, FP8)),
]


def identity(value: object) -> str:
    """A readable test id of a case or a dtype."""
    if not isinstance(value, tuple):
        return str(value).removeprefix("torch.")
    check, arguments = value
    return f"{check.__name__}-{'-'.join(str(argument) for argument in arguments)}".replace(" ", "")
