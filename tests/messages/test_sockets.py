"""Endpoints, and frames over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lightllm_rs.messages.sockets import AsyncDealer, Dealer, EndpointTooLong, Hub, Poller, endpoint


def test_a_path_that_no_socket_can_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EndpointTooLong, match="shorter directory"):
        endpoint(tmp_path / ("x" * 120), "control")


def test_frames_go_both_ways(tmp_path: Path) -> None:
    address = endpoint(tmp_path, "s")
    hub = Hub(address)
    dealer = Dealer(address, "me")
    dealer.send(b"question")
    assert hub.receive(60_000) == (b"me", b"question")
    poller = Poller()
    poller.add(dealer)
    assert poller.wait(0) == []
    hub.send(b"me", b"answer")
    assert poller.wait(60_000) == [dealer.socket]
    assert dealer.receive(0) == b"answer"
    assert dealer.receive(0) is None
    assert hub.receive(0) is None
    hub.send(b"nobody", b"dropped")
    dealer.close()
    hub.close()


def test_an_async_dealer_misses_no_frame(tmp_path: Path) -> None:
    async def scenario() -> list[bytes]:
        address = endpoint(tmp_path, "s")
        hub = Hub(address)
        got: list[bytes] = []
        done = asyncio.Event()

        def on_frame(frame: bytes) -> None:
            got.append(frame)
            if len(got) == 2000:
                done.set()

        dealer = AsyncDealer(address, "me", on_frame)
        dealer.send(b"hello")
        assert hub.receive(60_000) == (b"me", b"hello")  # libzmq's own thread sends it, so this loop may block
        for burst in range(20):
            for i in range(100):
                hub.send(b"me", b"%d" % (burst * 100 + i))
            dealer.send(b"x")
            await asyncio.sleep(0)
        await asyncio.wait_for(done.wait(), 60)
        dealer.close()
        hub.close()
        return got

    assert asyncio.run(scenario()) == [b"%d" % i for i in range(2000)]


def test_a_callback_that_raises_loses_no_later_frame(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[bytes], int]:
        hub = Hub(endpoint(tmp_path, "s"))
        got: list[bytes] = []
        errors: list[object] = []
        done = asyncio.Event()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))

        def on_frame(frame: bytes) -> None:
            if frame == b"0":
                raise ValueError("a fault")
            got.append(frame)
            if frame == b"9":
                done.set()

        dealer = AsyncDealer(endpoint(tmp_path, "s"), "me", on_frame)
        dealer.send(b"hello")
        assert hub.receive(60_000) == (b"me", b"hello")
        for number in range(10):
            hub.send(b"me", b"%d" % number)
        await asyncio.wait_for(done.wait(), 60)
        dealer.close()
        hub.close()
        return got, len(errors)

    assert asyncio.run(scenario()) == ([b"%d" % number for number in range(1, 10)], 1)
