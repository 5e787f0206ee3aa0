"""The kernels compile for real GPUs, on hosts that have none: Triton brings its own assembler.

What the interpreter does not see shows here: types that do not meet, and tiles that outgrow the shared memory.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lightllm_rs.kernels.all_reduce_norm import kernel as all_reduce_norm
from lightllm_rs.kernels.draw_tokens import kernel as draw
from lightllm_rs.kernels.fp8 import LARGEST
from lightllm_rs.kernels.fp8_block_linear import kernel as block_linear
from lightllm_rs.kernels.paged_decode_attention import kernel as decode
from lightllm_rs.kernels.paged_decode_attention import long_rows, shared_prefix
from lightllm_rs.kernels.paged_decode_attention.cut import common_tile
from lightllm_rs.kernels.paged_decode_attention.prefixes import ITEM_ROWS, MOST_PARTS
from lightllm_rs.kernels.paged_prefill_attention import hopper
from lightllm_rs.kernels.paged_prefill_attention import kernel as prefill
from lightllm_rs.kernels.quantize_fp8 import kernel as quantize
from lightllm_rs.kernels.quantize_fp8.reference import SMALLEST_SCALE
from lightllm_rs.kernels.rms_norm import kernel as rms_norm
from lightllm_rs.kernels.rms_norm_fp8 import kernel as rms_norm_fp8
from lightllm_rs.kernels.rotary_kv import kernel as rotary
from lightllm_rs.kernels.silu_mul import kernel as silu_mul
from lightllm_rs.kernels.silu_mul_fp8 import kernel as silu_mul_fp8
from lightllm_rs.kernels.skinny_linear import kernel as skinny
from lightllm_rs.kernels.skinny_linear.tiles import tile
from lightllm_rs.kernels.tuning import FOLDER

# (compute capability, shared memory of one block in bytes): A100, RTX 4090, H100.
TARGETS = [(80, 163 << 10), (89, 99 << 10), (90, 227 << 10)]
# (heads, kv heads, head_dim, page size)
SHAPES = [(32, 8, 128, 16), (9, 3, 64, 16), (8, 2, 80, 1), (4, 1, 256, 64)]


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def shared_memory(
    kernel: Any, capability: int, types: dict[str, str], constants: dict[str, Any], **options: int
) -> int:
    """Bytes of shared memory of the kernel, compiled with pointers aligned to 16 bytes, as torch's are."""
    if "PDL" in kernel.arg_names:
        constants = {**constants, "PDL": capability >= 90}
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    aligned = [["tt.divisibility", 16]]
    attributes = {(at,): aligned for at, kind in enumerate(signature.values()) if kind.startswith("*")}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return int(compiled.metadata.shared)


@pytest.mark.parametrize("kind", ["bf16", "fp32"])
@pytest.mark.parametrize(("heads", "kv_heads", "head_dim", "page_size"), SHAPES)
@pytest.mark.parametrize(("capability", "limit"), TARGETS[1:])
def test_attention(
    capability: int, limit: int, heads: int, kv_heads: int, head_dim: int, page_size: int, kind: str
) -> None:
    floats, wide = f"*{kind}", kind == "fp32"
    shape = {"HEADS": heads, "KV_HEADS": kv_heads, "HEAD_DIM": head_dim, "PAGE_SIZE": page_size, "PRECISION": "ieee"}
    types = dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "out_ptr"), floats)
    integers = ("table_ptr", "lengths_ptr", "starts_ptr", "items_ptr", "done_ptr", "found_ptr", "counters_ptr")
    types.update(dict.fromkeys((*integers, "prefix_lengths_ptr", "prefix_parts_ptr"), "*i32"))
    types.update(table_width="i32", rows="i32", scale="fp32")
    sums = ("part_ptr", "max_ptr", "sum_ptr")
    types.update(dict.fromkeys((*sums, *(f"prefix_{name}" for name in sums)), "*fp32"))
    block_d = max(16, triton.next_power_of_2(head_dim))
    block_n, stages = common_tile(block_d, wide)
    for parts, splits, long in ((0, 4, False), (0, 1, True), (MOST_PARTS, 4, True)):
        blocks = {"BLOCK_G": 16, "BLOCK_N": block_n, "BLOCK_D": block_d, "PREFIX_PARTS": parts}
        constants = {**shape, **blocks, "SPLITS": splits, "LONG": long}
        kernel, options = decode.paged_decode_kernel, {"num_warps": 4, "num_stages": stages}
        assert shared_memory(kernel, capability, types, constants, **options) <= limit
    flags = {"PREFIXES": True, "PERCENT": 150, "MIN_TOKENS": 256, "BLOCK": 1024}
    words = {**types, **dict.fromkeys(("splits", "most", "tile", "counters"), "i32")}
    assert shared_memory(long_rows.long_rows_kernel, capability, words, flags, num_warps=8) <= limit
    group = triton.next_power_of_2(heads // kv_heads)
    blocks = {"BLOCK_G": group, "BLOCK_M": group * ITEM_ROWS, "BLOCK_D": block_d, "PARTS": MOST_PARTS, "WORDS": 5}
    blocks["BLOCK_N"], warps, stages = shared_prefix.tile(block_d, group * ITEM_ROWS, wide)
    kernel = shared_prefix.shared_prefix_kernel
    assert shared_memory(kernel, capability, types, {**shape, **blocks}, num_warps=warps, num_stages=stages) <= limit
    tile = prefill.common_tile(block_d, wide)
    blocks = {"BLOCK_M": tile.block_m, "BLOCK_N": tile.block_n, "BLOCK_D": block_d, "BLOCK_R": prefill.FEW_ROWS}
    blocks |= {"PACK": prefill.pack_for(heads, kv_heads, tile.block_m)}
    flags = {"DESCRIPTORS": False, "k_tiles": None, "v_tiles": None}
    kernel, options = prefill.paged_prefill_kernel, {"num_warps": tile.warps, "num_stages": tile.stages}
    assert shared_memory(kernel, capability, types, {**shape, **blocks, **flags}, **options) <= limit


def test_decode_attention_as_it_was_measured_to_be_best() -> None:
    (capability, limit), types = TARGETS[-1], dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "out_ptr"), "*bf16")
    integers = ("table_ptr", "lengths_ptr", "done_ptr", "prefix_lengths_ptr", "prefix_parts_ptr", "found_ptr")
    types.update(dict.fromkeys(integers, "*i32"))
    sums = ("part_ptr", "max_ptr", "sum_ptr")
    types.update(dict.fromkeys((*sums, *(f"prefix_{name}" for name in sums)), "*fp32"))
    types.update(table_width="i32", scale="fp32")
    measured = json.loads((FOLDER / "h100.json").read_text())["paged_decode_attention"]
    assert measured
    for key, found in measured.items():
        head_dim, page_size, _ = map(int, key.split(","))
        shape = {"HEADS": 32, "KV_HEADS": 8, "HEAD_DIM": head_dim, "PAGE_SIZE": page_size, "PRECISION": "ieee"}
        for cut in found["cuts"]:
            blocks = {"BLOCK_G": 16, "BLOCK_N": cut["block_n"], "BLOCK_D": head_dim, "SPLITS": 2}
            constants = {**shape, **blocks, "PREFIX_PARTS": MOST_PARTS, "LONG": True}
            options = {"num_warps": cut["warps"], "num_stages": cut["stages"]}
            assert shared_memory(decode.paged_decode_kernel, capability, types, constants, **options) <= limit


@pytest.mark.skipif(not hopper.has_gluon(triton.__version__), reason="needs the Gluon of Triton 3.6")
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_prefill_attention_by_warps_with_roles(kind: str) -> None:
    """Sums over values stay under way while the softmax of the next scores is taken."""
    from triton.experimental.gluon._runtime import GluonASTSource
    from triton.experimental.gluon.language import NVMMASharedLayout

    from lightllm_rs.kernels.paged_prefill_attention.hopper.kernel import hopper_prefill_kernel as kernel

    measured = json.loads((FOLDER / "h100.json").read_text())["paged_prefill_attention"]
    chosen = {key: hopper.Cut(**found) for key, found in measured.items() if key.endswith(",hopper")}
    assert chosen
    for key, cut in chosen.items():
        head_dim, page_size = map(int, key.split(",")[:2])
        layout = NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16)
        types = {
            "q_source": f"tensordesc<{kind}[16, {head_dim}],{layout}>",
            "k_source": f"tensordesc<{kind}[{page_size}, {head_dim}],{layout}>",
            "v_source": f"tensordesc<{kind}[{page_size}, {head_dim}],{layout}>",
            "out_ptr": f"*{kind}",
            "scale": "fp32",
        }
        types.update(dict.fromkeys(("table_ptr", "starts_ptr", "lengths_ptr"), "*i32"), table_width="i32", rows="i32")
        constants = {"HEADS": 32, "KV_HEADS": 8, "HEAD_DIM": head_dim, "PAGE_SIZE": page_size, "PACK": 4}
        constants |= {"BLOCK_N": cut.block_n, "BLOCK_R": hopper.ROWS, "STAGES": cut.stages}
        signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
        source = GluonASTSource(fn=kernel, signature=signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
        assert compiled.metadata.shared <= TARGETS[-1][1]
        under_way = compiled.asm["ptx"].count("wgmma.wait_group.sync.aligned 1;")
        assert under_way == 4, "two warpgroups, each with a loop of whole tiles and one of masked ones"


@pytest.mark.parametrize(("capability", "limit"), TARGETS)
def test_the_rest(capability: int, limit: int) -> None:
    floats = dict.fromkeys(("x_ptr", "residual_ptr", "weight_ptr", "y_ptr", "sum_ptr"), "*bf16")
    types = {**floats, "size": "i32", "eps": "fp32"}
    constants: dict[str, Any] = {"HAS_RESIDUAL": True, "BLOCK": 4096}
    assert shared_memory(rms_norm.rms_norm_kernel, capability, types, constants, num_warps=16) <= limit
    types |= {"bases_ptr": "*i64", "rows": "i32", "room": "i32", "flags_at": "i32"}
    constants |= {"TURN": 1, "RANK": 1, "WORLD": 4, "PROGRAMS": 128}
    assert shared_memory(all_reduce_norm.all_reduce_norm_kernel, capability, types, constants, num_warps=16) <= limit
    types = {"gate_up_ptr": "*bf16", "out_ptr": "*bf16", "inner": "i32"}
    assert shared_memory(silu_mul.silu_mul_kernel, capability, types, {"BLOCK": 1024}, num_warps=4) <= limit
    names = ("qkv_ptr", "q_ptr", "k_ptr", "v_ptr", "q_norm_ptr", "k_norm_ptr")
    types = {**dict.fromkeys(names, "*bf16"), "rope_ptr": "*fp32", "slots_ptr": "*i64", "eps": "fp32"}
    constants = {"HEADS": 32, "KV_HEADS": 8, "HEAD_DIM": 128, "NORM": True, "BLOCK_H": 8, "BLOCK_HALF": 64}
    constants["LARGEST"] = 0.0
    assert shared_memory(rotary.rotary_kv_kernel, capability, types, constants, num_warps=4) <= limit


@pytest.mark.parametrize(("capability", "limit"), TARGETS)
def test_drawing(capability: int, limit: int) -> None:
    types = dict.fromkeys(("slots_ptr", "integers_ptr", "good_ptr", "drawn_ptr", "last_ptr"), "*i64")
    types |= dict.fromkeys(("floats_ptr", "max_ptr", "sum_ptr", "limit_ptr"), "*fp32")
    types |= {"logits_ptr": "*bf16", "positions_ptr": "*i32", "arg_ptr": "*i32"}
    types |= dict.fromkeys(("stride", "vocab", "chunks", "rows", "limited"), "i32")
    constants: dict[str, Any] = {"COLUMNS": 6, "BLOCK": draw.CHUNK, "CHECK": True, "CHUNKS": 32}
    for kernel in (draw.survey_kernel, draw.limit_kernel, draw.choose_kernel):
        names = {name: value for name, value in constants.items() if name in kernel.arg_names}
        assert shared_memory(kernel, capability, types, names, num_warps=8) <= limit


@pytest.mark.parametrize(("capability", "limit"), TARGETS[1:])  # the A100 has no 8-bit floats
def test_fp8(capability: int, limit: int) -> None:
    names = ("qkv_ptr", "q_ptr", "q_norm_ptr", "k_norm_ptr")
    types = {**dict.fromkeys(names, "*bf16"), "rope_ptr": "*fp32", "slots_ptr": "*i64", "eps": "fp32"}
    types.update(k_ptr="*fp8e4nv", v_ptr="*fp8e4nv")
    constants: dict[str, Any] = {"HEADS": 32, "KV_HEADS": 8, "HEAD_DIM": 128, "NORM": True, "BLOCK_H": 8}
    constants.update(BLOCK_HALF=64, LARGEST=LARGEST)
    assert shared_memory(rotary.rotary_kv_kernel, capability, types, constants, num_warps=4) <= limit
    types = {"x_ptr": "*bf16", "y_ptr": "*fp8e4nv", "scale_ptr": "*fp32", "groups": "i32"}
    constants = {"LARGEST": LARGEST, "SMALLEST_SCALE": SMALLEST_SCALE}
    for shape in (
        {"GROUP": 14336, "BLOCK_GROUPS": 1, "BLOCK": 16384},
        {"GROUP": 128, "BLOCK_GROUPS": 32, "BLOCK": 128},
    ):
        assert shared_memory(quantize.quantize_fp8_kernel, capability, types, {**constants, **shape}) <= limit
    types = dict.fromkeys(("x_ptr", "residual_ptr", "weight_ptr", "sum_ptr", "gate_up_ptr"), "*bf16")
    types.update(y_ptr="*fp8e4nv", scale_ptr="*fp32", size="i32", inner="i32", eps="fp32")
    norm = {**constants, "HAS_RESIDUAL": True, "BLOCK": 4096}
    assert shared_memory(rms_norm_fp8.rms_norm_fp8_kernel, capability, types, norm, num_warps=8) <= limit
    silu = {**constants, "BLOCK": 16384}
    assert shared_memory(silu_mul_fp8.silu_mul_fp8_kernel, capability, types, silu, num_warps=16) <= limit
    pointers = {"x_ptr": "*fp8e4nv", "weight_ptr": "*fp8e4nv", "bias_ptr": "*bf16", "y_ptr": "*bf16"}
    types = {**pointers, **dict.fromkeys(("x_scale_ptr", "weight_scale_ptr"), "*fp32")}
    types.update(dict.fromkeys(("tokens", "outputs", "groups"), "i32"))
    for tokens in (1, 64, 1000):
        block_m, block_n, warps, stages = block_linear.tile(tokens)
        constants = {"HAS_BIAS": True, "GROUP": 128, "BLOCK_M": block_m, "BLOCK_N": block_n}
        kernel = block_linear.fp8_block_linear_kernel
        assert shared_memory(kernel, capability, types, constants, num_warps=warps, num_stages=stages) <= limit


@pytest.mark.parametrize("kind", ["bf16", "fp8e4nv"])
@pytest.mark.parametrize(("rows", "inputs"), [(1, 4096), (2, 1024), (4, 14336), (8, 100)])
@pytest.mark.parametrize(("capability", "limit"), TARGETS[1:])
def test_skinny_linear(capability: int, limit: int, rows: int, inputs: int, kind: str) -> None:
    types = dict.fromkeys(("x_ptr", "bias_ptr", "norm_ptr", "residual_ptr", "out_ptr"), "*bf16")
    types |= {"weight_ptr": f"*{kind}", "scale_ptr": "*fp32", "eps": "fp32"}
    types |= dict.fromkeys(("rows", "outputs", "inputs"), "i32")
    chosen = tile(rows, inputs, 2 if kind == "bf16" else 1)
    flags = dict.fromkeys(("BIAS", "NORM", "RESIDUAL", "SILU"), True)
    constants = {
        "ROWS": rows,
        "SCALE": kind != "bf16",
        **flags,
        "EVEN": inputs % chosen.inputs == 0,
        "BLOCK_N": chosen.outputs,
        "BLOCK_K": chosen.inputs,
        "CHUNK": chosen.chunk,
    }
    kernel = skinny.skinny_rows_kernel
    assert shared_memory(kernel, capability, types, constants, num_warps=chosen.warps) <= limit
