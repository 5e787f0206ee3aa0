"""What is dialled: only addresses that were looked up for this very connection, and only if all of them are public."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightllm_rs.media.addresses import Address, is_public
from lightllm_rs.media.network import MOST_ADDRESSES, PublicNetwork, Unreachable

NEAR = ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "fe80::1%eth0", "::ffff:8.8.8.8"]
FAR = ["8.8.8.8", "1.1.1.1", "2606:4700::1", "2a00:1450::1", "198.41.0.4", "9.9.9.9"]
ADDRESSES = st.sampled_from([ip_address(text) for text in NEAR + FAR]) | st.ip_addresses()


def connected(host: str, found: list[Address], dead: int) -> tuple[list[Address], bool]:
    """The addresses that were dialled, and whether there was a connection. The first `dead` do not answer."""
    dialled: list[Address] = []

    async def resolve(name: str, port: int) -> list[Address]:
        assert (name, port) == (host, 80)
        return found

    async def dial(address: Address, port: int) -> httpcore.AsyncNetworkStream:
        dialled.append(address)
        if len(dialled) <= dead:
            raise Unreachable
        return httpcore.AsyncMockStream([])

    try:
        asyncio.run(PublicNetwork(resolve, dial).connect_tcp(host, 80))
    except Unreachable:
        return dialled, False
    return dialled, True


@given(st.lists(ADDRESSES, max_size=6), st.integers(0, 6))
def test_names(found: list[Address], dead: int) -> None:
    dialled, done = connected("pictures.example", found, dead)
    if not all(map(is_public, found)):
        assert not dialled
    tried = found[:MOST_ADDRESSES] if all(map(is_public, found)) else []
    assert done is (dead < len(tried))
    assert dialled == tried[: dead + 1]


@given(ADDRESSES)
def test_addresses_are_not_looked_up(address: Address) -> None:
    dialled, done = connected(str(address), [ip_address("8.8.8.8")], 0)
    assert done is is_public(address)
    assert dialled == ([address] if done else [])


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1"])
def test_what_only_the_resolver_takes_for_an_address(host: str) -> None:
    """Such hosts do not come through `parse_location`; what they mean is checked all the same."""
    assert connected(host, [ip_address("127.0.0.1")], 0) == ([], False)
