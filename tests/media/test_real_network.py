"""What a fetcher makes of real certificates, a real resolver and the addresses of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from helpers.bad_host import PUBLIC, answer, bad_host
from lightllm_rs.media import Fetcher, Limits, MediaError
from lightllm_rs.media.addresses import Address
from lightllm_rs.media.network import PublicNetwork, Resolver, Unreachable, dial
from media.certificates import authority_and_host

PATIENT = Limits(fetch_seconds=60.0, image_bytes=1 << 20)
URL = "http://pictures.example"


def test_certificates_are_checked_against_the_name(tmp_path: Path) -> None:
    trust, server = authority_and_host(tmp_path, "pictures.example")
    untrusted, _ = authority_and_host(tmp_path, "other.example")

    async def run() -> None:
        async with bad_host(server) as host:
            host.pages["/"] = answer(b"x")
            host.names["wrong.example"] = [[PUBLIC]]
            for context, name, good in (
                (trust, "pictures.example", True),
                (trust, "wrong.example", False),
                (untrusted, "pictures.example", False),
                (None, "pictures.example", False),
            ):
                fetcher = Fetcher(PATIENT, host.network, context)
                if good:
                    assert await fetcher.fetch(f"https://{name}/", lambda size: None) == b"x"
                else:
                    with pytest.raises(MediaError, match="no valid certificate"):
                        await fetcher.fetch(f"https://{name}/", lambda size: None)

    asyncio.run(run())


def test_the_real_network_reaches_nothing_of_this_machine() -> None:
    async def run() -> None:
        async with bad_host() as host:
            host.pages["/"] = answer(b"secret")
            fetcher = Fetcher(replace(PATIENT, fetch_seconds=60))
            names = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", socket.gethostname()]
            for name in names:
                with pytest.raises(MediaError):
                    await fetcher.fetch(f"http://{name}:{host.port}/", lambda size: None)
            assert not host.asked

    asyncio.run(run())


def test_a_connection_to_oneself_is_closed_before_anything_is_sent() -> None:
    async def run() -> None:
        async with bad_host() as host:
            with pytest.raises(Unreachable):
                await dial(ip_address("127.0.0.1"), host.port)
            assert not host.asked

    asyncio.run(run())


def test_the_resolver() -> None:
    async def run() -> None:
        resolver = Resolver(1)
        assert any(address.is_loopback for address in await resolver("localhost", 80))
        with pytest.raises(Unreachable):
            await resolver("no-such-name.invalid", 80)
        with pytest.raises(Unreachable):
            await PublicNetwork(resolver, dial).connect_unix_socket("/run/x")

    asyncio.run(run())


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: go.wait() and [])

    async def run() -> None:
        resolver = Resolver(2)
        fetcher = Fetcher(replace(PATIENT, fetch_seconds=0.1), PublicNetwork(resolver, dial))
        for says in ("0.1 seconds", "0.1 seconds", "cannot be reached"):
            with pytest.raises(MediaError, match=says):
                await fetcher.fetch(URL, lambda size: None)
        go.set()
        assert await resolver_is_free(resolver) == []

    asyncio.run(run())


def test_a_system_without_threads_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        resolver = Resolver(1)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(2):
                with pytest.raises(Unreachable):
                    await resolver("localhost", 80)
        assert await resolver("localhost", 80), "the names that could not be looked up take no place"

    asyncio.run(run())


async def resolver_is_free(resolver: Resolver) -> list[Address]:
    """What it says, as soon as it looks up again."""
    for _ in range(1000):
        with contextlib.suppress(Unreachable):
            return await resolver("pictures.example", 80)
        await asyncio.sleep(0.01)
    raise AssertionError("it never looks up again")
