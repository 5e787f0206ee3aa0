"""Which kind of work a kernel does, by its name."""

from __future__ import annotations

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("all-reduce", ("nccl", "one_shot", "two_shot", "multimem", "all_reduce", "allreduce")),
    ("attention", ("attention", "attn", "flash", "fmha", "paged_", "prefill_kernel", "shared_prefix", "long_rows")),
    (
        "matrix products",
        ("gemm", "gemv", "nvjet", "cutlass", "cublas", "splitk", "matrix", "skinny", "::mm", "addmm", "bmm", "linear"),
    ),
    (
        "norm, rotary, activation",
        ("rms_norm", "rmsnorm", "norm", "rotary", "silu", "residual", "kv_write", "quantize", "quantise"),
    ),
    (
        "sampling",
        (
            *("argmax", "sort", "topk", "top_k", "softmax", "sample", "multinomial", "cumsum", "scan", "draw"),
            *("choose_kernel", "limit_kernel", "survey_kernel"),
        ),
    ),
    ("copies", ("memcpy", "memset", "copy", "fill", "cat", "index", "gather", "scatter", "embedding", "arange")),
)
"""Names of groups, and parts of the names of their kernels in small letters; the first group that fits counts."""

OTHER = "other"


def group_of(name: str) -> str:
    """Name of the group of a kernel, an operator or a copy."""
    small = name.lower()
    return next((group for group, parts in GROUPS if any(part in small for part in parts)), OTHER)
