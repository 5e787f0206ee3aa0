"""The router process alone: what it costs when idle and when busy, and what it adds to a request's way.

Stands in for supervisor, HTTP process, backend rank, health and metric server, over the same sockets as in service:

- idle: CPU time of all its threads in a minute without requests, heartbeats included;
- way: from an HTTP process's send to the backend's receive on an idle server, against a bare ZeroMQ echo between the
  same two processes over the same transport, in turns;
- image: the same way for the message that the image is ready that a request begins with;
- busy: its share of a core with many requests running and a given step time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from lightllm_rs.messages import requests, steps
from lightllm_rs.messages.frames import PROTOCOL, encode, pack_u32, unpack_u32
from lightllm_rs.messages.images import FIRST_SYNTHETIC, ImageSpan
from lightllm_rs.messages.router_start import JournalStart, RouterStart
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.sockets import Dealer, Hub, endpoint
from lightllm_rs.router.main import scheduling
from lightllm_rs.settings import ServeSettings

VOCAB, CONTEXT, PAGES, PAGE_SIZE = 50_000, 1 << 16, 1 << 20, 16
WAIT_MS = 10_000
RECEIVED_BYTES = 1 << 16


class Bench:
    """A router that is ready, in a process of its own.

    Attributes:
        run_dir: where its sockets are.
        pid: its process.
    """

    def __init__(self, stack: ExitStack, policy: str, journal: str | None, slots: int) -> None:
        self.run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llrs-")))
        names = ("requests", "plans", "control", "health", "metrics")
        self._hubs = [Hub(endpoint(self.run_dir, name)) for name in names[2:]]
        for hub in self._hubs:
            stack.callback(hub.close)
        settings = ServeSettings(max_num_batched_tokens=8192, chunked_prefill_size=8192, admission_policy=policy)
        start = RouterStart(
            protocol=PROTOCOL,
            process="router",
            **{name: endpoint(self.run_dir, name) for name in names},
            ranks=1,
            client_bound_bytes=64 << 20,
            scheduling=scheduling(settings),
            journal=JournalStart(journal, False, bytes(16)) if journal else None,
        )
        code = "import sys; from lightllm_rs import _core; _core.run_router(sys.stdin.buffer.read())"
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        stack.callback(process.wait)
        stack.callback(process.kill)
        assert process.stdin is not None
        process.stdin.write(encode(start))
        process.stdin.close()
        self.pid = process.pid
        # A backend in a process of its own: it must not share an interpreter with the HTTP process's stand-in.
        self.backend, theirs = multiprocessing.Pipe()
        backend = multiprocessing.get_context("spawn").Process(target=serve_rank, args=(theirs, self.run_dir, slots))
        backend.start()
        stack.callback(backend.join)
        stack.callback(backend.kill)
        for _ in range(2):  # hello and ready
            assert self._hubs[0].receive(WAIT_MS) is not None, "the router did not start"

    def cpu_seconds(self) -> float:
        """CPU time of all its threads, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def drop_reports(self) -> None:
        """Takes in what came for the health and the metric server."""
        for hub in self._hubs:
            while hub.receive(0) is not None:
                pass

    def client(self) -> Dealer:
        """An HTTP process's socket that has said hello."""
        client = Dealer(endpoint(self.run_dir, "requests"), "http-0.1")
        client.send(encode(requests.ClientHello(PROTOCOL, "http-0")))
        assert client.receive(WAIT_MS) is not None, "the router did not answer"
        return client


def serve_rank(orders: Connection, run_dir: Path, slots: int) -> None:
    """The backend: carries out orders of the benchmark, one after the other."""
    echo = Hub(endpoint(run_dir, "echo"))
    rank = Dealer(endpoint(run_dir, "plans"), "rank-0")
    rank.send(encode(steps.RankHello(PROTOCOL, 0, 1, PAGES, PAGE_SIZE, slots, VOCAB, CONTEXT, True)))
    while True:
        what, argument = orders.recv()
        if what == "echo":
            for _ in range(argument):
                echo.socket.send_multipart(echo.socket.recv_multipart())
        elif what == "arrivals":
            orders.send([arrival(rank) for _ in range(argument)])
        else:
            orders.send(run_steps(rank, argument))


def arrival(rank: Dealer) -> int:
    """When the next request's plan came; answers it, and the plan that gives its slot back."""
    frame = rank.receive(None)
    now = time.monotonic_ns()
    assert frame is not None
    answer(rank, frame)
    plan = rank.receive(None)
    assert plan is not None
    answer(rank, plan)
    return now


def run_steps(rank: Dealer, step_ms: float) -> int:
    """Answers plans, `step_ms` each, until none comes. Returns how many."""
    ends, count = time.monotonic(), 0
    while (frame := rank.receive(500)) is not None:
        ends = max(ends, time.monotonic()) + step_ms * 1e-3
        time.sleep(max(0.0, ends - time.monotonic()))
        answer(rank, frame)
        count += 1
    return count


def answer(rank: Dealer, frame: bytes) -> None:
    """The result of a plan: token 7 for each row that emits."""
    plan = steps.plan_decoder.decode(frame)
    assert isinstance(plan, steps.StepPlan)
    rows = np.flatnonzero(unpack_u32(plan.rows)[4 :: steps.ROW_WORDS] & steps.EMITS)
    ones, tokens = pack_u32(np.ones(len(rows))), pack_u32(np.full(len(rows), 7))
    rank.send(encode(steps.StepResult(plan.step, pack_u32(rows), ones, tokens, [], 10)))


def add(number: int, prompt: list[int], max_tokens: int) -> bytes:
    """The frame of a request."""
    return encode(requests.Add(number, pack_u32(prompt), max_tokens, Sampling(temperature=0.0)))


def add_with_image(number: int, prompt: list[int]) -> bytes:
    """The frame of a request that begins with an image of one token, which is not ready."""
    ids = pack_u32([FIRST_SYNTHETIC + number, *prompt[1:]])
    images = [ImageSpan(0, 1, number.to_bytes(16, "little"), (1, 1, 1))]
    return encode(requests.Add(number, ids, 1, Sampling(temperature=0.0), images=images))


def idle(bench: Bench, seconds: float) -> dict[str, float]:
    """CPU time without requests."""
    client = bench.client()
    time.sleep(2)
    before, began = bench.cpu_seconds(), time.monotonic()
    while time.monotonic() - began < seconds:
        bench.drop_reports()
        time.sleep(1)
    used, wall = bench.cpu_seconds() - before, time.monotonic() - began
    client.close()
    return {"seconds": wall, "cpu_ms": used * 1e3, "cpu_ms_a_minute": used * 1e3 * 60 / wall}


def way(bench: Bench, rounds: int, block: int, image: bool) -> dict[str, float]:
    """Times from HTTP process to backend, of a request or of `ImageReady`, and of an echo, in microseconds."""
    client = bench.client()
    echo = Dealer(endpoint(bench.run_dir, "echo"), "http-0.1")
    prompt, frame = list(range(100)), add(0, list(range(100)), 1)
    echoes: list[float] = []
    ways: list[float] = []
    ratios: list[float] = []
    number = 0
    for _ in range(rounds):
        bench.backend.send(("echo", block))
        some = []
        for _ in range(block):
            time.sleep(0.002)
            before = time.monotonic_ns()
            echo.send(frame)
            echo.receive(None)
            some.append((time.monotonic_ns() - before) * 1e-3)
        bench.backend.send(("arrivals", block))
        sent = []
        for _ in range(block):
            time.sleep(0.002)
            number += 1
            # New prompts: nothing is in the prefix cache.
            frame = add(number, [number % VOCAB, *prompt[1:]], 1)
            if image:
                client.send(add_with_image(number, prompt))
                time.sleep(0.002)
                frame = encode(requests.ImageReady(number, 0))
            sent.append(time.monotonic_ns())
            client.send(frame)
            client.receive(None)
        arrived = bench.backend.recv()
        through = [(there - here) * 1e-3 for here, there in zip(sent, arrived, strict=True)]
        echoes += some
        ways += through
        ratios.append(statistics.median(through) / statistics.median(some))
        bench.drop_reports()
    client.close()
    echo.close()
    return {
        "echo_us_p50": statistics.median(echoes),
        "way_us_p50": statistics.median(ways),
        "echo_us_p90": statistics.quantiles(echoes, n=10)[-1],
        "way_us_p90": statistics.quantiles(ways, n=10)[-1],
        "ratio": statistics.median(ways) / statistics.median(echoes),
        "ratio_of_rounds_p50": statistics.median(ratios),
    }


def busy(bench: Bench, running: int, step_ms: float, seconds: float) -> dict[str, float]:
    """Share of a core with `running` requests decoding."""
    client = bench.client()
    bench.backend.send(("steps", step_ms))
    for number in range(running):
        client.send(add(number, [number % VOCAB, *range(100)], CONTEXT - 200))
    reported = taken = frames = rows = 0
    before = began = at_start = 0.0
    warm = time.monotonic() + 2
    while True:
        frame = client.receive(100)
        now = time.monotonic()
        if not began and now >= warm:
            before, began, at_start = bench.cpu_seconds(), now, frames
        elif began and now >= began + seconds:
            break
        if frame is not None:
            frames += 1
            taken += len(frame)
            rows = len(requests.router_decoder.decode(frame).rows) if frames % 64 == 0 else rows
        if taken - reported >= RECEIVED_BYTES:
            reported = taken
            client.send(encode(requests.Received(taken)))
        if frames % 256 == 0:
            bench.drop_reports()
    used, wall, count = bench.cpu_seconds() - before, time.monotonic() - began, frames - at_start
    client.send(encode(requests.Abort(list(range(running)))))
    bench.backend.recv()
    client.close()
    return {
        "rows_a_step": rows,
        "steps_a_second": count / wall,
        "share_of_a_core": used / wall,
        "cpu_us_a_step": used / count * 1e6,
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "idle", "way", "image", "busy"], help="what to measure [all]")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block", type=int, default=50)
    parser.add_argument("--running", type=int, default=256)
    parser.add_argument("--step-ms", type=float, default=1.0)
    parser.add_argument("--busy-seconds", type=float, default=10)
    parser.add_argument("--policy", default=ServeSettings().admission_policy)
    parser.add_argument("--journal", help="write a journal meanwhile")
    options = parser.parse_args()
    parts = options.parts or ["idle", "way", "image", "busy"]
    found = {}
    with ExitStack() as stack:
        bench = Bench(stack, options.policy, options.journal, max(64, options.running))
        if "way" in parts:
            found["way"] = way(bench, options.rounds, options.block, image=False)
        if "image" in parts:
            found["image"] = way(bench, options.rounds, options.block, image=True)
        if "busy" in parts:
            found["busy"] = busy(bench, options.running, options.step_ms, options.busy_seconds)
        if "idle" in parts:
            found["idle"] = idle(bench, options.idle_seconds)
    rounded = {part: {name: round(value, 3) for name, value in values.items()} for part, values in found.items()}
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
