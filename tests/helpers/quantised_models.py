"""Tiny models whose weights are 8-bit floats, made of unquantised ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from lightllm_rs.kernels.fp8 import LARGEST, to_fp8
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
BLOCK = {
    "quant_method": "fp8",
    "fmt": "e4m3",
    "activation_scheme": "dynamic",
    "weight_block_size": [128, 128],
    "modules_to_not_convert": ["lm_head"],
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


def block_quantised_files(folder: Path, dequantise: bool = False) -> None:
    """Turns an unquantised folder into one with a scale for each 128 by 128 block, or into the same numbers as float32.

    Inputs must be multiples of 128."""
    tensors = load_file(folder / "model.safetensors")
    for name in list(tensors):
        module = name.removesuffix(".weight")
        if not module.endswith(MATRICES):
            continue
        outputs, inputs = tensors[name].shape
        padded = F.pad(tensors[name], (0, 0, 0, -outputs % 128)).view(-1, 128, inputs // 128, 128)
        scales = padded.abs().amax((1, 3)) / LARGEST
        values = to_fp8(padded / scales[:, None, :, None])
        if dequantise:
            tensors[name] = (values.float() * scales[:, None, :, None]).view(-1, inputs)[:outputs].contiguous()
        else:
            tensors[name] = values.view(-1, inputs)[:outputs].contiguous()
            tensors[f"{module}.weight_scale_inv"] = scales
    save_file(tensors, folder / "model.safetensors")
    if not dequantise:
        set_config(folder, BLOCK)


def set_config(folder: Path, config: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": config}))
