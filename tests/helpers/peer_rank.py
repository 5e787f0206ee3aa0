"""One rank of test_peer_memory.py: `python peer_rank.py RANK WORLD STORE RESULT DTYPE FOLDER`.

Where there are fewer GPUs than ranks they share one: the driver gives it to them in turn, so it is slow, but the same.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from lightllm_rs.checkpoint import locate
from lightllm_rs.layers import peer_memory
from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import load_model

ROWS = 24
"""Rows that go through the mailbox; a batch of more goes through torch.distributed."""
PAGE_SIZE = 16


def hidden_states(folder: str, dtype: torch.dtype, tp: TensorParallel, device: torch.device) -> torch.Tensor:
    """Final hidden states of a prompt too long for the mailbox, one that fits, and decode steps out of a graph."""
    model = load_model(locate(folder), dtype=dtype, device=device, tp=tp)
    layers, heads, head_dim = model.kv_shape()
    kv = KvCache(layers, 8, PAGE_SIZE, heads, head_dim, dtype, device)
    table = torch.arange(8, dtype=torch.int32, device=device).view(1, -1)
    outputs = []

    def prefill(start: int, count: int) -> torch.Tensor:
        places = torch.arange(start, start + count, device=device)
        batch = Batch(
            3 + places % 300,
            places,
            places,
            torch.arange(count, device=device),
            prefill_page_table=table,
            prefill_starts=torch.tensor([0, count], dtype=torch.int32, device=device),
            prefill_lengths=torch.tensor([start + count], dtype=torch.int32, device=device),
        )
        return model(batch, kv)

    outputs += [prefill(0, 40), prefill(40, 20)]
    token, place = torch.zeros(1, dtype=torch.int64, device=device), torch.zeros(1, dtype=torch.int64, device=device)
    length = torch.zeros(1, dtype=torch.int32, device=device)

    def decode() -> torch.Tensor:
        rows = torch.zeros(1, dtype=torch.int64, device=device)
        batch = Batch(token, place, place, rows, decode_rows=1, decode_page_table=table, decode_lengths=length)
        return model(batch, kv)

    length.fill_(1)
    decode()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        hidden = decode()
    prefill(0, 1)  # what the two trials wrote
    for step in range(60, 100):
        token.fill_(step % 7 + 5)
        place.fill_(step)
        length.fill_(step + 1)
        graph.replay()
        outputs.append(hidden.clone())
    return torch.cat(outputs).float().cpu()


@torch.inference_mode()
def main(rank: int, world: int, store: str, result: str, dtype: torch.dtype, folder: str) -> None:
    shared = torch.cuda.device_count() < world
    device = torch.device("cuda", 0 if shared else rank)
    torch.cuda.set_device(device)
    os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"], os.environ["NCCL_NVLS_ENABLE"] = "1", "0"
    os.environ["TORCH_SYMM_MEM_ALLOW_OVERLAPPING_DEVICES"] = "1"
    dist.init_process_group(
        "gloo" if shared else "nccl", store=dist.FileStore(store, world), rank=rank, world_size=world
    )
    tp = TensorParallel(rank, world, dist.group.WORLD)
    assert tp.group is not None
    size = locate(folder).config().hidden
    peer_memory.SMALL_BYTES = ROWS * size * dtype.itemsize * (world - 1)
    peers = peer_memory.PeerMemory(tp.group, size, dtype, device)
    assert peers.mailbox.rows == ROWS
    results = {"ranks": hidden_states(folder, dtype, replace(tp, peers=peers), device)}
    if rank == 0:
        results["alone"] = hidden_states(folder, dtype, TensorParallel(), device)
    save_file(results, result)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4], getattr(torch, sys.argv[5]), sys.argv[6])
