"""The tensor-parallel group: torch.distributed over a file store, on loopback interfaces only."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import FileStore  # type: ignore[attr-defined]

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.layers.parallel import TensorParallel

TIMEOUT = timedelta(minutes=10)
"""Longest wait in a collective: ranks load their weights at different speeds."""


def open_group(options: BackendOptions, device: torch.device) -> TensorParallel:
    """Joins the group of all ranks of this epoch; waits for them. Raises BackendError."""
    if options.world == 1:
        return TensorParallel()
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = "lo"
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


def close_group(tp: TensorParallel) -> None:
    """Leaves the group."""
    if tp.world > 1:
        dist.destroy_process_group()
