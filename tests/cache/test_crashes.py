"""Who holds what when clients or the cache manager are killed or stopped."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from cache.harness import MIB, WAIT_SECONDS, Manager, encode_next, key, manager, put, want
from lightllm_rs.cache import AsyncCacheClient, CacheClient, CacheGone, Lease, State
from lightllm_rs.messages.images import IMAGE_DEADLY


def hear(child: subprocess.Popen[bytes]) -> str:
    """The next line of a client in another process."""
    assert child.stdout is not None
    return child.stdout.readline().decode().strip()


def end(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL."""
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def in_a_thread(work: object, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments)
    thread.start()
    return thread


def test_a_killed_client_loses_its_leases_at_once_and_its_waiters_their_place(tmp_path: Path) -> None:
    with manager(tmp_path, MIB) as it:
        client = it.client()
        most = client.total_bytes - 128 * 1024
        holder = it.child(f"held = client.acquire([want('a', {most}, 1)]); say('held'); time.sleep(60)")
        assert hear(holder) == "held"
        waiter = it.child("say('begins'); client.acquire([want('b', 500_000, 1)]); say('never')")
        assert hear(waiter) == "begins"
        it.until(lambda stats: stats["waiters"] == 1)
        got: list[list[Lease]] = []
        behind = in_a_thread(lambda: got.append(client.acquire([want("c", 500_000, 1)], timeout=WAIT_SECONDS)))
        it.until(lambda stats: stats["waiters"] == 2)
        end(waiter)
        it.until(lambda stats: stats["waiters"] == 1)
        end(holder)
        behind.join()
        assert [lease.state for lease in got.pop()] == [State.WRITE]
        stats = it.until(lambda stats: stats["leases"] == 0)
        assert stats["used_bytes"] == 0


def test_a_zombie_is_dead(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        holder = it.child("held = client.acquire([want('a')]); say('held'); time.sleep(60)")
        assert hear(holder) == "held"
        os.kill(holder.pid, signal.SIGKILL)  # and nobody waits for it
        it.until(lambda stats: stats["leases"] == 0)
        end(holder)


def test_a_stopped_client_keeps_its_leases(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        holder = it.child(
            "held = client.acquire([want('a')]); say('held'); time.sleep(0.1); say(client.stats()['leases'])"
        )
        assert hear(holder) == "held"
        os.kill(holder.pid, signal.SIGSTOP)
        client = it.client()
        for _ in range(20):
            [lease] = client.acquire([want("a")])
            assert lease.state == State.PENDING, "the stopped one is the writer"
            lease.release()
        assert client.stats()["leases"] == 1
        os.kill(holder.pid, signal.SIGCONT)
        assert hear(holder) == "1"
        holder.wait(WAIT_SECONDS)
        end(holder)


def test_when_the_writer_is_killed_who_waits_for_it_writes(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        writer = it.child("held = client.acquire([want('a', 5, 5)]); say(held[0].state); time.sleep(60)")
        assert hear(writer) == State.WRITE
        client = it.client()
        [lease] = client.acquire([want("a", 5, 5)])
        decided: list[list[str]] = []
        waiting = in_a_thread(lambda: decided.append(client.wait([lease], timeout=WAIT_SECONDS)))
        it.until(lambda stats: stats["waits"] == 1)
        end(writer)
        waiting.join()
        assert decided == [[State.WRITE]]
        lease.write_data(b"image")
        client.publish_data([lease])
        encode_next(it.client("visual"), lambda taken: taken.data.tobytes())
        assert client.wait([lease]) == [State.READY]
        assert lease.features.tobytes() == b"image"


def test_when_a_visual_server_is_killed_its_images_are_encoded_by_the_next(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        leases = [put(client, number, b"12345", 5) for number in range(3)]
        taker = it.child("taken = client.take(8); say(len(taken)); time.sleep(60)")
        assert hear(taker) == "3"
        end(taker)
        visual = it.client("visual")
        encoded = []
        while len(encoded) < 3:
            taken = encode_next(visual, lambda taken: taken.data.tobytes())
            assert len(taken) == 1, "which of them it died of is not known, so each comes alone"
            encoded += [lease.key for lease in taken]
        assert encoded == [key(number) for number in range(3)], "and in their order"
        assert client.wait(leases) == [State.READY] * 3


def test_an_image_that_kills_three_visual_servers_fails_alone(tmp_path: Path) -> None:
    with manager(tmp_path) as it:
        client = it.client()
        leases = [put(client, number, b"12345", 5) for number in range(2)]
        for expected in ("2", "1", "1"):
            taker = it.child("taken = client.take(8); say(len(taken)); time.sleep(60)")
            assert hear(taker) == expected
            end(taker)
        assert client.wait(leases[:1]) == [State.FAILED]
        assert leases[0].error == IMAGE_DEADLY
        encode_next(it.client("visual"), lambda taken: taken.data.tobytes())
        assert client.wait(leases) == [State.FAILED, State.READY]


def test_a_killed_manager_is_learnt_by_all_who_wait_and_mappings_stay(tmp_path: Path) -> None:
    async def wait_on_a_loop(it: Manager) -> None:
        client = AsyncCacheClient(it.endpoint, "loop")
        taking = asyncio.ensure_future(client.take(1))
        await asyncio.sleep(0)
        it.kill()
        with pytest.raises(CacheGone):
            await asyncio.wait_for(taking, WAIT_SECONDS)
        with pytest.raises(CacheGone):
            await client.acquire([want("b")])
        assert not select.select([client._descriptor], [], [], 0)[0], "the loop would spin until it is closed"
        client.close()

    with manager(tmp_path) as it:
        client = it.client()
        lease = put(client, "a", b"image", 5)
        encode_next(it.client("visual"), lambda taken: taken.data.tobytes())
        assert client.wait([lease]) == [State.READY]
        view = lease.features
        failures: list[Exception] = []

        def wait() -> None:
            try:
                client.take(1)
            except CacheGone as error:
                failures.append(error)

        threads = [in_a_thread(wait) for _ in range(5)]
        asyncio.run(wait_on_a_loop(it))
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert len(failures) == 5
        assert view.tobytes() == b"image"
        with pytest.raises(CacheGone):
            client.acquire([want("b")])
        lease.release()
        assert it.arena.exists(), "nobody could remove it"
        with manager(tmp_path, arena=it.arena) as successor:
            fresh = successor.client()
            assert fresh.stats()["items"] == 0
            assert put(fresh, "a", b"other", 5).state == State.PENDING
            assert view.tobytes() == b"image", "the old mapping is of the old file"
        assert not it.arena.exists()


def test_a_client_that_comes_before_the_manager_waits_for_it(tmp_path: Path) -> None:
    made: list[CacheClient] = []
    address = f"ipc://{tmp_path / 'cache-0.sock'}"
    early = in_a_thread(lambda: made.append(CacheClient(address, "early", timeout=WAIT_SECONDS)))
    with manager(tmp_path) as it:
        early.join(WAIT_SECONDS)
        assert made[0].server_pid == it.process.pid
        assert made[0].stats()["clients"] == 1
        made[0].close()
        it.until(lambda stats: stats["clients"] == 1)


def test_python_signal_handlers_run_while_a_call_blocks(tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def ring(*_: object) -> None:
        raise Enough

    def ring_late() -> None:
        time.sleep(0.2)  # most often the call blocks by now
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    with manager(tmp_path) as it:
        client = it.client()
        before = signal.signal(signal.SIGUSR1, ring)
        try:
            killer = threading.Thread(target=ring_late)
            with pytest.raises(Enough):  # noqa: PT012  on a slow machine it may ring before the call
                killer.start()
                client.take(1, timeout=WAIT_SECONDS)
            killer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
        lease = put(client, "a", b"1", 1)
        assert it.until(lambda stats: stats["queued"] == 1)["leases"] == 1, "the interrupted take got nothing"
        lease.release()
