"""The tensor-parallel group: torch.distributed over a file store, on loopback interfaces only."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined]

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.layers.parallel import TensorParallel

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=10)
"""Longest wait in a collective: ranks load their weights at different speeds."""


def open_group(options: BackendOptions, device: torch.device) -> TensorParallel:
    """Joins the group of all ranks of this epoch; waits for them. Raises BackendError."""
    if options.world == 1:
        return TensorParallel()
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo"
    # No NVLink multicast: a process that dies with it can leave the switch of all GPUs of the machine in disorder.
    os.environ["NCCL_NVLS_ENABLE"], os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "0", "1"
    store = FileStore(str(Path(options.run_dir) / f"ranks-{options.epoch}"), options.world)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(
            backend,
            store=store,
            rank=options.rank,
            world_size=options.world,
            timeout=TIMEOUT,
            device_id=device if device.type == "cuda" else None,
        )
    except (RuntimeError, dist.DistError) as error:
        reason = " ".join(str(error).split())
        raise BackendError(f"the {options.world} ranks did not find each other: {reason}") from None
    return TensorParallel(options.rank, options.world, dist.group.WORLD)


def open_peers(tp: TensorParallel, size: int, dtype: torch.dtype, device: torch.device) -> TensorParallel:
    """`tp` with memory for sums of rows of `size` elements, where the ranks' devices reach each other's memory."""
    if tp.group is None or device.type != "cuda":
        return tp
    from lightllm_rs.layers.peer_memory import PeerMemory, reachable

    if not reachable(tp.world):
        if tp.rank == 0:
            logger.warning("the GPUs do not reach each other's memory: all sums between them go through NCCL")
        return tp
    peers, reason = None, ""
    try:
        peers = PeerMemory(tp.group, size, dtype, device)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
    good = torch.tensor([peers is not None], dtype=torch.int32, device=device)
    dist.all_reduce(good, dist.ReduceOp.MIN, group=tp.group)
    if not good.item():
        logger.warning("no memory shared between the GPUs, sums go through NCCL: %s", reason or "another rank failed")
        return tp
    return replace(tp, peers=peers)


def close_group(tp: TensorParallel) -> None:
    """Leaves the group."""
    if tp.world > 1:
        dist.destroy_process_group()
