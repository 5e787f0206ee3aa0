"""An HTTP process that may fetch images from this machine, as no setting allows: in place of `lightllm_rs.process`."""

from __future__ import annotations

import sys

import httpcore

from lightllm_rs.media import fetcher, network
from lightllm_rs.media.addresses import Address
from lightllm_rs.process.entry import main


async def dial(address: Address, port: int) -> httpcore.AsyncNetworkStream:
    """A connection to any address."""
    return await httpcore.AnyIOBackend().connect_tcp(str(address), port)


if __name__ == "__main__":
    network.is_public = lambda address: True
    fetcher.dial = dial
    sys.exit(main())
