"""Tiny models whose weights are 8-bit floats, made of unquantised ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lightllm_rs.kernels.quantize_fp8 import quantize_fp8

MATRICES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
CHANNEL: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True, "dynamic": False},
            "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
        }
    },
    "ignore": ["lm_head"],
}


def quantised_files(folder: Path, config: dict[str, Any], skip: str = "nothing") -> None:
    """Turns an unquantised folder into one with a scale for each output channel."""
    tensors = load_file(folder / "model.safetensors")
    for name in list(tensors):
        module = name.removesuffix(".weight")
        if module.endswith(MATRICES) and skip not in name:
            values, scales = quantize_fp8(tensors[name])
            tensors[name], tensors[f"{module}.weight_scale"] = values, scales[:, None].to(torch.float32)
    save_file(tensors, folder / "model.safetensors")
    set_config(folder, config)


def set_config(folder: Path, config: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": config}))
