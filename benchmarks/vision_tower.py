"""Pictures a second of a vision tower alone, beside transformers' own forward and the measured matrix rate.

    python benchmarks/vision_tower.py --output tower.json

The weights are random: the shape is that of Qwen2.5-VL-7B or Qwen3-VL-8B. Both towers get the same weights and the same
patches. Theirs begin on the device and are only multiplied; ours begin on the host, as a visual server has them.
Needs a GPU and transformers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from image_models import QWEN_PROCESSOR, QWEN_SHAPE
from lightllm_rs.checkpoint import Checkpoint
from lightllm_rs.models.vision import Pixels, load_tower
from lightllm_rs.models.vision.qwen import QwenTower
from lightllm_rs.vision import open_geometry

QWEN3_8B: dict[str, Any] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "text_config": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 151936,
        "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
    },
    "vision_config": {"depth": 27, "out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24]},
}
# Of preprocessor_config.json, as these models are published.
PROCESSORS: dict[str, dict[str, Any]] = {
    "qwen2.5-vl-7b": QWEN_PROCESSOR,
    "qwen3-vl-8b": {"patch_size": 16, "size": {"shortest_edge": 65536, "longest_edge": 16777216}},
}
SHAPES = {"qwen2.5-vl-7b": QWEN_SHAPE, "qwen3-vl-8b": QWEN3_8B}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-vl-7b")
    parser.add_argument("--cases", default="1024x1024:1,1024x1024:8,448x448:32,224x224:64", help="size:batch, ...")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    tower, theirs = towers(args.shape)
    rate = matrix_rate()
    print(f"{torch.cuda.get_device_name()}: products of 8192 by 8192 matrices at {rate / 1e12:.0f} TFLOP/s")
    results = []
    for case in args.cases.split(","):
        size, batch = case.split(":")
        width, height = (int(side) for side in size.split("x"))
        results.append(measure(tower, theirs, width, height, int(batch), args.repeats, rate))
        print(line(results[-1]), flush=True)
    if args.output is not None:
        found = {"device": torch.cuda.get_device_name(), "shape": args.shape, "matrix_rate": rate, "cases": results}
        args.output.write_text(json.dumps(found, indent=1))


def towers(shape: str) -> tuple[QwenTower, Any]:
    """Ours and transformers', in bfloat16, with the same random weights."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(SHAPES[shape]))
        (Path(folder) / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[shape]))
        checkpoint = Checkpoint(Path(folder), shape, dummy=True)
        geometry = open_geometry(checkpoint)
        assert geometry is not None
        device = torch.device("cuda")
        tower = load_tower(checkpoint, geometry, dtype=torch.bfloat16, device=device)
        assert isinstance(tower, QwenTower)
        fresh = type(tower).from_config(checkpoint.config(), geometry, torch.bfloat16, torch.device("meta"))
        weights = dict(checkpoint.vision_tensors(fresh.shapes(), dtype=torch.bfloat16, device=device))
        config = transformers.AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = getattr(transformers, SHAPES[shape]["architectures"][0])(config)
    theirs = model.model.visual.to(torch.bfloat16).to_empty(device="cuda").eval()
    theirs.load_state_dict({name.removeprefix("visual."): tensor for name, tensor in weights.items()})
    rotary = theirs.rotary_pos_emb  # not in the state: made again, as the weights began on the meta device
    theirs.rotary_pos_emb = type(rotary)(rotary.config).to("cuda")
    return tower, theirs


def measure(
    tower: QwenTower, theirs: Any, width: int, height: int, batch: int, repeats: int, rate: float
) -> dict[str, Any]:
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    pixels = tower.pixels(picture)
    inputs = [pixels] * batch
    _, rows, columns = pixels.shape.grid
    merge = tower.vision.patches.merge
    grid = torch.tensor([(1, rows * merge, columns * merge)] * batch, device="cuda")
    single = doubled(tower, pixels)
    patches = single.repeat(batch, 1)
    ours = seconds(lambda: tower.encode(inputs), repeats)
    others = seconds(lambda: theirs(patches, grid_thw=grid), repeats)
    found, wanted = tower.encode(inputs[:1])[0], theirs(single, grid_thw=grid[:1])
    wanted = wanted.pooler_output
    error = (found[:, : wanted.shape[1]].float() - wanted.float()).abs().max() / wanted.float().abs().max()
    work = operations(tower, pixels) * batch
    return {
        "picture": f"{width}x{height}",
        "batch": batch,
        "tokens": pixels.shape.tokens,
        "pictures_a_second": batch / ours,
        "share_of_matrix_rate": work / ours / rate,
        "transformers_pictures_a_second": batch / others,
        "transformers_share": work / others / rate,
        "difference": error.item(),
    }


def doubled(tower: QwenTower, pixels: Pixels) -> torch.Tensor:
    """The patches as transformers takes them, every frame there."""
    patches = tower.normalise(pixels.values.to(tower.device))
    parts = patches.unsqueeze(2).expand(-1, -1, tower.vision.patches.frames, -1)
    return parts.reshape(len(patches), -1)


def operations(tower: QwenTower, pixels: Pixels) -> float:
    """Multiplications and additions that a picture needs, as transformers' code does them, padding not counted."""
    vision, patches = tower.vision, pixels.shape.tokens * tower.square
    width, tokens = vision.width_in, pixels.shape.tokens
    mlp = (3 if vision.mlp == "gated" else 2) * vision.inner
    products = patches * vision.layers * width * (4 * width + mlp)
    products += patches * 2 * 3 * vision.patches.side**2 * width
    inner = width * vision.patches.merge**2
    products += tokens * inner * (inner + vision.width_out) * (1 + vision.deep_stack)
    windows = tower.patch_grid(pixels.shape.grid).windows
    whole = len(vision.whole_layers) if vision.window else vision.layers
    attention = whole * patches**2 + (vision.layers - whole) * sum(window**2 for window in windows)
    return 2.0 * products + 4.0 * width * attention


def matrix_rate() -> float:
    """Operations a second of a product of large bfloat16 matrices."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * 8192**3 / seconds(lambda: a @ b, 20)


@torch.inference_mode()
def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median of single runs, until the device is done."""
    times = []
    for run in range(repeats + 2):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if run >= 2:
            times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def line(case: dict[str, Any]) -> str:
    return (
        f"{case['picture']} x{case['batch']}: {case['pictures_a_second']:.1f} pictures/s "
        f"({case['share_of_matrix_rate']:.0%} of the matrix rate); transformers "
        f"{case['transformers_pictures_a_second']:.1f} ({case['transformers_share']:.0%}); "
        f"differ by {case['difference']:.1e}"
    )


if __name__ == "__main__":
    main()
