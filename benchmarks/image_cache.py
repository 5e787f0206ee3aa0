"""The cache of images: what its calls cost, beside a bare ZeroMQ echo and beside a cache in plain Python over RPC.

- hit: look up and lease 8 images that are ready, one round trip, against a ZeroMQ echo (pyzmq at both ends) of the same
  sizes over ipc, in turns; `cargo bench -p lightllm-cache-server` is the same with Rust at both ends;
- publish: reserve, write and publish an image of 1 MB;
- read: a view of the features by size, and whether two of them have the same address: nothing is copied;
- rpc: images a second at batch 8 (acquire and release), against servers in plain Python with one call an item.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

import rpc_cache
from lightllm_rs.cache import CacheClient, Want
from lightllm_rs.messages import cache as frames
from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Dealer, Hub, endpoint

MIB, GIB = 1 << 20, 1 << 30
BATCH = 8


class Bench:
    """A cache manager that is ready, in a process of its own, and a client.

    Attributes:
        run_dir: where its sockets are.
        client: in this process.
        visual: another client, to encode.
    """

    def __init__(self, stack: ExitStack, size: int) -> None:
        self.run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        command = [sys.executable, "-m", "lightllm_rs.cache_manager", str(self.run_dir), "--size", str(size / GIB)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("ready: ").strip()
        if not address:
            raise RuntimeError("the cache manager did not start")
        self.client = CacheClient(address, "bench")
        self.visual = CacheClient(address, "visual")
        stack.callback(self.client.close)
        stack.callback(self.visual.close)

    def fill(self, names: list[str], data_len: int, feature_len: int) -> list[Want]:
        """Makes items ready."""
        wants = [Want(key(name), data_len, feature_len) for name in names]
        leases = self.client.acquire(wants)
        self.client.publish_data(leases)
        self.visual.publish_features(self.visual.take(len(wants)))
        self.client.release(leases)
        return wants


def key(name: str) -> bytes:
    """A key as in service."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def serve_echo(address: str, answer_bytes: int) -> None:
    """Answers each frame with another of so many bytes, until it is killed."""
    hub, answer = Hub(address), bytes(answer_bytes)
    while True:
        identity, _ = hub.socket.recv_multipart()
        hub.socket.send_multipart([identity, answer])


def micros(call: Callable[[], object], count: int) -> list[float]:
    """Times of `count` calls, in microseconds."""
    times = []
    for _ in range(count):
        before = time.perf_counter_ns()
        call()
        times.append((time.perf_counter_ns() - before) * 1e-3)
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Median and tenths."""
    tenths = statistics.quantiles(times, n=10)
    return {"p10": tenths[0], "p50": statistics.median(times), "p90": tenths[-1]}


def sizes(wants: list[Want]) -> tuple[int, int]:
    """Bytes of the frames of a call that finds all of them ready: there and back."""
    asked = frames.Acquire(
        1000,
        [
            frames.Want(want.key, want.data_len, want.feature_len, want.pixels, want.original_pixels, want.recipe)
            for want in wants
        ],
    )
    granted = [
        frames.Granted(1000, want.key, frames.READY, 10, 10, want.data_len, want.feature_len, 0, b"", b"", bytes(8))
        for want in wants
    ]
    return len(encode(asked)), len(encode(frames.Leased(1000, list(granted))))


def hit(bench: Bench, stack: ExitStack, rounds: int, block: int) -> dict[str, object]:
    """Times of a hit of 8 images and of an echo, in turns."""
    wants = bench.fill([f"hit-{number}" for number in range(BATCH)], 200_000, 500_000)
    there, back = sizes(wants)
    address = endpoint(bench.run_dir, "echo")
    server = multiprocessing.get_context("spawn").Process(target=serve_echo, args=(address, back), daemon=True)
    server.start()
    stack.callback(server.join)
    stack.callback(server.kill)
    echo, frame = Dealer(address, "bench"), bytes(there)
    stack.callback(echo.close)

    def ping() -> None:
        echo.send(frame)
        echo.receive(None)

    held: list[object] = []

    def lease() -> None:
        held.append(bench.client.acquire(wants))

    ping()
    pings: list[float] = []
    hits: list[float] = []
    ratios = []
    for _ in range(rounds):
        some = micros(ping, block)
        more = micros(lease, block)
        held.clear()  # gives the leases back, outside of the measured time
        bench.client.stats()
        pings += some
        hits += more
        ratios.append(statistics.median(more) / statistics.median(some))
    return {
        "bytes": [there, back],
        "echo_us": summary(pings),
        "hit_us": summary(hits),
        "ratio": statistics.median(hits) / statistics.median(pings),
        "ratio_of_rounds_p50": statistics.median(ratios),
    }


def publish(bench: Bench, count: int) -> dict[str, object]:
    """Times of one image of 1 MB: reserved, written and published; and of its parts."""
    data = os.urandom(1_000_000)
    parts: dict[str, list[float]] = {"acquire": [], "write": [], "publish": [], "all": []}
    for number in range(count):
        want = Want(key(f"publish-{number}"), len(data), 2_000_000)
        at = [time.perf_counter_ns()]
        [lease] = bench.client.acquire([want])
        at.append(time.perf_counter_ns())
        lease.write_data(data)
        at.append(time.perf_counter_ns())
        bench.client.publish_data([lease])
        at.append(time.perf_counter_ns())
        assert lease.state == "pending"
        for name, begin, end in (("acquire", 0, 1), ("write", 1, 2), ("publish", 2, 3), ("all", 0, 3)):
            parts[name].append((at[end] - at[begin]) * 1e-3)
        bench.visual.publish_features(bench.visual.take(1))
        lease.release()
    return {f"{name}_us": summary(times) for name, times in parts.items()}


def read(bench: Bench, count: int) -> dict[str, object]:
    """Times to view features of different sizes, and addresses of two views of the same."""
    found: dict[str, object] = {}
    for size in (64 << 10, MIB, 16 * MIB, 128 * MIB):
        bench.fill([f"read-{size}"], 1, size)
        [lease] = bench.client.lease([key(f"read-{size}")])
        assert lease is not None

        def view(lease=lease) -> np.ndarray:
            return np.frombuffer(lease.features, dtype=np.float32)

        one, two = view(), view()
        same = one.ctypes.data == two.ctypes.data
        found[f"{size >> 10}_KiB"] = {**summary(micros(view, count)), "same_address": same}
        lease.release()
    return found


def rpc(bench: Bench, seconds: float) -> dict[str, object]:
    """Images a second that one client acquires and gives back, eight a request."""
    wants = bench.fill([f"rpc-{number}" for number in range(BATCH)], 200_000, 500_000)
    keys = [want.key for want in wants]

    def ours() -> None:
        bench.client.release(bench.client.acquire(wants))

    def rate(call: Callable[[], None]) -> float:
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            call()
            count += BATCH
        return count / (time.perf_counter() - began)

    found: dict[str, object] = {}
    for name, serving in (("rpyc", rpc_cache.over_rpyc), ("frames", rpc_cache.over_frames)):
        if name == "rpyc" and not rpc_cache.HAS_RPYC:
            found[name] = "not installed"
            continue
        with serving(bench.run_dir / f"{name}.sock") as call:
            for want in wants:
                call("alloc", want.key, want.data_len)
                call("set_ready", want.key)

            def plain(call=call) -> None:
                for key in keys:
                    call("acquire", key)
                for key in keys:
                    call("release", key)

            pairs = [(rate(ours), rate(plain)) for _ in range(3)]
        here, there = (statistics.median(side) for side in zip(*pairs, strict=True))
        found[name] = {"items_a_second": here, "plain_python": there, "ratio": here / there}
    return found


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "hit", "publish", "read", "rpc"], help="what to measure [all]")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--block", type=int, default=200)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()
    parts = options.parts or ["hit", "publish", "read", "rpc"]
    found: dict[str, object] = {}
    with ExitStack() as stack:
        bench = Bench(stack, 512 * MIB)
        if "hit" in parts:
            found["hit"] = hit(bench, stack, options.rounds, options.block)
        if "read" in parts:
            found["read"] = read(bench, options.count)
        if "publish" in parts:
            found["publish"] = publish(bench, options.count)
        if "rpc" in parts:
            found["rpc"] = rpc(bench, options.seconds)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
