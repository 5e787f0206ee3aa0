"""Names of dtypes."""

from __future__ import annotations

import pytest

from lightllm_rs.settings.dtype import SHORT, dtype_name
from lightllm_rs.settings.fields import fields


@pytest.mark.parametrize(
    ("wanted", "device", "name"),
    [
        ("auto", "cuda", "bfloat16"),
        ("auto", "cpu", "float32"),
        ("half", "cpu", "float16"),
        ("bf16", "cuda", "bfloat16"),
        ("fp32", "cuda", "float32"),
        ("float16", "cuda", "float16"),
    ],
)
def test_every_name_means_a_dtype(wanted: str, device: str, name: str) -> None:
    assert dtype_name(wanted, device) == name


def test_the_flag_takes_every_name() -> None:
    field = next(field for field in fields() if field.name == "dtype")
    assert set(field.choices) == {"auto", *SHORT, *SHORT.values()}
