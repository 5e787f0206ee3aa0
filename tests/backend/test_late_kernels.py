"""What is logged of a kernel that Triton compiles after the start."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lightllm_rs.backend.late_kernels import LateKernels


def test_it_says_which_kernel_held_up_a_step_and_for_how_long(caplog: pytest.LogCaptureFixture) -> None:
    late = LateKernels()
    times = SimpleNamespace(total=1_234_000)
    late.compiled(src=SimpleNamespace(name="paged_decode_kernel"), times=times, cache_hit=False, metadata={})
    late.compiled(src=SimpleNamespace(name="silu_mul_kernel"), times=times, cache_hit=True, metadata={})
    assert late.names == ["paged_decode_kernel", "silu_mul_kernel"]
    said = [record.getMessage() for record in caplog.records]
    assert "paged_decode_kernel was not there at the start: it was compiled while a step waited, for 1234 ms" in said[0]
    assert "silu_mul_kernel was not there at the start: it was read from Triton's cache" in said[1]


def test_triton_tells_it() -> None:
    knobs = pytest.importorskip("triton").knobs
    before = knobs.compilation.listener
    late = LateKernels()
    try:
        late.watch()
        assert knobs.compilation.listener == late.compiled
    finally:
        knobs.compilation.listener = before
