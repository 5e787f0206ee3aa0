"""The router in a process of its own, with the test as its supervisor, its HTTP process, its rank and its servers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from lightllm_rs.messages import control, requests, steps, telemetry
from lightllm_rs.messages.frames import PROTOCOL, encode, pack_u32, unpack_u32
from lightllm_rs.messages.router_start import JournalStart, RouterStart, Scheduling
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.sockets import Dealer, Hub, endpoint

WAIT_MS = 60_000

SCHEDULING = Scheduling(
    step_tokens=64,
    prefill_chunk=16,
    max_step_us=80_000,
    plan_lead_us=2500,
    balance_tokens=1024,
    queue_requests=4,
    queue_tokens=1000,
    prefix_cache=True,
    mode="chunked",
    max_wait_tokens=8,
    policy="aggressive",
    policy_parameters=[],
    priority_age_us=5_000_000,
    tenant_quantum=2048,
    ttft_target_us=0,
    refuse_late=False,
    bypass_limit=64,
    group_tokens=256,
    eviction="lru",
    seed=0,
    debug_checks=True,
)


@dataclass
class RouterProcess:
    """The process and the test's end of all its sockets."""

    process: subprocess.Popen[bytes]
    run_dir: Path
    control: Hub
    health: Hub
    metrics: Hub
    rank: Dealer
    clients: list[Dealer] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=dict)

    def client(self, name: str = "http-0", identity: str = "http-0.1") -> Dealer:
        """An HTTP process that has said hello and got its answer."""
        dealer = Dealer(endpoint(self.run_dir, "requests"), identity)
        self.clients.append(dealer)
        dealer.send(encode(requests.ClientHello(PROTOCOL, name)))
        hello = hear(dealer)
        assert isinstance(hello, requests.RouterHello)
        assert (hello.vocab, hello.context) == (100, 64)
        return dealer

    def plan(self) -> steps.StepPlan:
        """The next plan, as the rank sees it."""
        frame = self.rank.receive(WAIT_MS)
        assert frame is not None, "no plan came"
        plan = steps.plan_decoder.decode(frame)
        assert isinstance(plan, steps.StepPlan)
        return plan

    def plan_with_rows(self) -> steps.StepPlan:
        """The next plan that computes something; plans that only detach are answered."""
        while not (plan := self.plan()).rows:
            self.answer(plan)
        return plan

    def answer(self, plan: steps.StepPlan, token: Callable[[int], int] = lambda _: 7) -> None:
        """Answers a plan: `token(row)` for each row that emits."""
        rows = unpack_u32(plan.rows).reshape(-1, steps.ROW_WORDS)
        emitting = np.flatnonzero(rows[:, 4] & steps.EMITS)
        tokens = [token(int(row)) for row in emitting]
        ones = pack_u32(np.ones(len(emitting)))
        self.rank.send(encode(steps.StepResult(plan.step, pack_u32(emitting), ones, pack_u32(tokens), [], 10)))

    def conversation(
        self, client: Dealer, take: Callable[[steps.StepPlan], None] | None = None
    ) -> Iterator[requests.RouterMessage]:
        """What the client hears; meanwhile each plan that comes is answered, or given to `take`."""
        take = take or self.answer
        until = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < until:
            if (frame := self.rank.receive(0)) is not None:
                plan = steps.plan_decoder.decode(frame)
                assert isinstance(plan, steps.StepPlan)
                take(plan)
            if (frame := client.receive(5)) is not None:
                yield requests.router_decoder.decode(frame)
        raise AssertionError("the router says nothing more")

    def figures(self) -> telemetry.Report:
        """The next report to the metric server."""
        got = self.metrics.receive(WAIT_MS)
        assert got is not None, "no report came"
        report = telemetry.metrics_decoder.decode(got[1])
        assert isinstance(report, telemetry.Report)
        return report

    def samples(self) -> list[telemetry.Sample]:
        """The values in it."""
        return self.figures().samples

    def report(self, wanted: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """The values after the first report that makes them satisfy `wanted`: gauges, and totals of all reports."""
        until = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < until:
            values: dict[str, float] = {}
            for sample in self.samples():
                if sample.name.endswith("_total"):
                    self.totals[sample.name] = self.totals.get(sample.name, 0.0) + sample.value
                else:
                    values[sample.name] = sample.value
            if wanted(values | self.totals):
                return values | self.totals
        raise AssertionError("no report was as wanted")


def hear(dealer: Dealer) -> requests.RouterMessage:
    """The next message to an HTTP process."""
    frame = dealer.receive(WAIT_MS)
    assert frame is not None, "the router said nothing"
    return requests.router_decoder.decode(frame)


def add(request: int, prompt: list[int], max_tokens: int, **sampling: object) -> bytes:
    """The frame of a new request."""
    return encode(requests.Add(request, pack_u32(prompt), max_tokens, Sampling(**sampling)))


@contextmanager
def router(
    tmp_path: Path,
    pages: int = 32,
    queue_requests: int = 4,
    bound: int = 1 << 20,
    journal: JournalStart | None = None,
    images: bool = False,
    **scheduling: object,
) -> Iterator[RouterProcess]:
    """A router that is ready, with one rank of 4 slots, pages of 4 tokens, vocabulary 100 and context 64."""
    names = ("requests", "plans", "control", "health", "metrics")
    start = RouterStart(
        protocol=PROTOCOL,
        process="router",
        **{name: endpoint(tmp_path, name) for name in names},
        ranks=1,
        client_bound_bytes=bound,
        scheduling=msgspec.structs.replace(SCHEDULING, queue_requests=queue_requests, **scheduling),
        journal=journal,
    )
    hubs = [Hub(endpoint(tmp_path, name)) for name in names[2:]]
    code = "import sys; from lightllm_rs import _core; _core.run_router(sys.stdin.buffer.read())"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    rank = Dealer(endpoint(tmp_path, "plans"), "rank-0")
    it = RouterProcess(process, tmp_path, *hubs, rank)
    try:
        assert process.stdin is not None
        process.stdin.write(encode(start))
        process.stdin.close()
        assert isinstance(from_router(it), control.ChildHello)
        rank.send(encode(steps.RankHello(PROTOCOL, 0, 1, pages, 4, 4, 100, 64, images)))
        ready = from_router(it)
        assert isinstance(ready, control.Ready), ready
        yield it
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
        for socket in (*hubs, rank, *it.clients):
            socket.close()


def from_router(it: RouterProcess) -> control.ChildMessage:
    """The next message to the supervisor."""
    got = it.control.receive(WAIT_MS)
    assert got is not None, "the router said nothing to its supervisor"
    assert got[0] == b"router"
    return control.child_decoder.decode(got[1])
