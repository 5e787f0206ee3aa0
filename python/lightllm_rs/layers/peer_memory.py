"""Memory that the ranks of one machine can write into directly, over torch's symmetric memory."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.distributed._symmetric_memory as symmetric_memory
from torch import Tensor

from ..kernels.all_reduce_norm import Mailbox

SMALL_BYTES = 8 << 20
"""Most that a rank writes into the others' memory for one sum; what is larger is left to NCCL."""


class PeerMemory:
    """This rank's mailbox, and the memory behind it. All ranks make theirs at the same time.

    Raises RuntimeError where the devices cannot reach each other's memory.
    """

    def __init__(self, group: dist.ProcessGroup, size: int, dtype: torch.dtype, device: torch.device) -> None:
        world = group.size()
        row = size * dtype.itemsize
        rows = max(1, SMALL_BYTES // (world - 1) // row)
        self.memory: Tensor = symmetric_memory.empty(
            Mailbox.bytes(world, rows, size, dtype.itemsize), dtype=torch.uint8, device=device
        )
        self.memory.zero_()
        handle = symmetric_memory.rendezvous(self.memory, group.group_name)
        torch.cuda.synchronize(device)
        dist.barrier(group)  # nobody writes before all flags are zero
        bases = torch.tensor(handle.buffer_ptrs, dtype=torch.int64, device=device)
        self.mailbox = Mailbox(group.rank(), world, rows, size, bases)
        self._handle = handle


def reachable(world: int) -> bool:
    """Whether each of the first `world` devices can access the memory of every other."""
    pairs = ((one, other) for one in range(world) for other in range(world) if one != other)
    return all(torch.cuda.can_device_access_peer(one, other) for one, other in pairs)
