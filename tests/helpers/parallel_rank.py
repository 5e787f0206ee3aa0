"""One tensor parallel rank of test_tensor_parallel.py: `python parallel_rank.py RANK WORLD STORE RESULT FOLDER...`."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from helpers.model_runner import ModelRunner, Sequence
from lightllm_rs.checkpoint import locate
from lightllm_rs.layers.fp8_matrix import Fp8Matrix
from lightllm_rs.layers.image_rows import IndexedRows
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import load_model

TEXT = list(range(3, 43))


def logits_of(folder: str, tp: TensorParallel, rounded: bool = False) -> torch.Tensor:
    """Prefill, then a mixed step, then a decode step, page borders between: [61, vocab].

    rounded: in front of 8-bit weights too, where each rank has scales of its own part of a token.
    """
    model = load_model(locate(folder), dtype=torch.float32, device=torch.device("cpu"), tp=tp)
    for module in model.modules():
        if isinstance(module, Fp8Matrix):
            module.rounds_activations = rounded
    runner = ModelRunner(model, dtype=torch.float32, device="cpu")
    first, second = Sequence(TEXT), Sequence(TEXT[::-1])
    images = None
    if (vision := model.config.vision) is not None:  # rank 0 alone has the features
        features = torch.randn(7, vision.width(model.config.hidden), generator=torch.Generator().manual_seed(5))
        images = IndexedRows(torch.arange(4, 11), features if tp.rank == 0 else None)
    steps = [
        runner.step([], [(first, 38)], every=True, images=images),
        runner.step([first], [(second, 20)], every=True),
    ]
    return torch.cat([*steps, runner.step([first, second])])


def main(rank: int, world: int, store: str, result: str, folders: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    tp = TensorParallel(rank, world, dist.group.WORLD)
    found = {}
    for index, folder in enumerate(folders):
        found[str(index)] = logits_of(folder, tp)
        found[f"{index} rounded"] = logits_of(folder, tp, rounded=True)
    save_file(found, result)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5:])
