"""Sum over ranks and norm, as each layer needs it twice: ours against torch's symmetric memory and NCCL, on GPUs.

Microseconds of one call in a captured graph of many, the slowest rank's; the first column is the norm alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

from lightllm_rs.kernels.all_reduce_norm import TURNS, all_reduce_norm
from lightllm_rs.kernels.rms_norm import rms_norm
from lightllm_rs.layers import peer_memory

ROWS = (1, 2, 8, 32, 64, 128, 256, 512, 1024, 2048, 4096)
CALLS, REPLAYS = 64, 20


def microseconds(call: Callable[[int], object], device: torch.device) -> float:
    """Of one call; `call` gets its number."""
    for number in range(3):
        call(number)
    torch.cuda.synchronize(device)
    dist.barrier()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for number in range(CALLS):
            call(number + (number >= CALLS - 1))  # the first and the last of two replays have different turns
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    begin.record()
    for _ in range(REPLAYS):
        graph.replay()
    end.record()
    torch.cuda.synchronize(device)
    slowest = torch.tensor([begin.elapsed_time(end) * 1e3 / (CALLS * REPLAYS)], device=device)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return float(slowest)


@torch.inference_mode()
def rank_main(rank: int, world: int, store: str, size: int) -> None:
    """One rank; rank 0 prints."""
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"], os.environ["NCCL_NVLS_ENABLE"] = "1", "0"
    dist.init_process_group("nccl", store=dist.FileStore(store, world), rank=rank, world_size=world, device_id=device)
    group = dist.group.WORLD
    assert group is not None
    peer_memory.SMALL_BYTES = max(ROWS) * size * 2 * (world - 1)
    peers = peer_memory.PeerMemory(group, size, torch.bfloat16, device)
    import torch.distributed._symmetric_memory as symmetric_memory

    buffer = symmetric_memory.empty(max(ROWS), size, dtype=torch.bfloat16, device=device)
    symmetric_memory.rendezvous(buffer, group.group_name)
    weight = torch.ones(size, dtype=torch.bfloat16, device=device)
    name, operations = group.group_name, torch.ops.symm_mem
    if rank == 0:
        print(f"{world} x {torch.cuda.get_device_name(device)}, rows of {size} bf16, microseconds")
        print(f"{'rows':>5} {'norm':>7} {'ours':>7} {'one-shot':>9} {'two-shot':>9} {'NCCL':>7}", flush=True)
    for rows in ROWS:
        generator = torch.Generator(device).manual_seed(rank)
        x = torch.randn(rows, size, dtype=torch.bfloat16, device=device, generator=generator)
        residual = torch.zeros_like(x)
        part = buffer[:rows]

        def norm(_: int, x: torch.Tensor = x, residual: torch.Tensor = residual) -> object:
            return rms_norm(x, weight, 1e-5, residual)

        def ours(number: int, x: torch.Tensor = x, residual: torch.Tensor = residual) -> object:
            return all_reduce_norm(x, weight, 1e-5, residual, peers.mailbox, number % TURNS)

        def one_shot(_: int, x: torch.Tensor = x, part: torch.Tensor = part, r: torch.Tensor = residual) -> object:
            return rms_norm(operations.one_shot_all_reduce_copy(part, x, "sum", name), weight, 1e-5, r)

        def two_shot(_: int, x: torch.Tensor = x, part: torch.Tensor = part, r: torch.Tensor = residual) -> object:
            part.copy_(x)
            return rms_norm(operations.two_shot_all_reduce_(part, "sum", name), weight, 1e-5, r)

        def nccl(_: int, x: torch.Tensor = x, residual: torch.Tensor = residual) -> object:
            whole = x.clone()  # in place: the same numbers must not grow from call to call
            dist.all_reduce(whole)
            return rms_norm(whole, weight, 1e-5, residual)

        expected = x.float()
        dist.all_reduce(expected)
        found = all_reduce_norm(x, weight, 1e-5, None, peers.mailbox, rows % TURNS)[1]
        assert torch.allclose(found.float(), expected, rtol=1e-2, atol=1e-2), "wrong sums"
        dist.barrier()
        times = [microseconds(call, device) for call in (norm, ours, one_shot, two_shot, nccl)]
        if rank == 0:
            print(
                f"{rows:5d} " + " ".join(f"{t:{w}.1f}" for t, w in zip(times, (7, 7, 9, 9, 7), strict=True)), flush=True
            )
    dist.barrier()
    os._exit(0)  # graphs that hold collectives make an orderly end slow


def main() -> None:
    """Starts the ranks and waits for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tp", type=int, default=2)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rank", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--store", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank >= 0:
        rank_main(options.rank, options.tp, options.store, options.size)
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        command = [sys.executable, __file__, "--tp", str(options.tp), "--size", str(options.size), "--store", store]
        ranks = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(options.tp)]
        codes = [rank.wait() for rank in ranks]
    if any(codes):
        sys.exit(f"ranks ended with {codes}")


if __name__ == "__main__":
    main()
