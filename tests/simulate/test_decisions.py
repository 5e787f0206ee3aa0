"""The simulator and a loop in Python over `Scheduler`, given the same calls at the same times, decide the same."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from lightllm_rs import simulate
from lightllm_rs.scheduling import (
    OrderConfig,
    PolicyConfig,
    Request,
    RowResult,
    Scheduler,
    SchedulerConfig,
    StepPlan,
    StepResult,
)


def config_of(header: dict[str, Any]) -> SchedulerConfig:
    """The settings in the first line of a journal."""
    settings = dict(header["config"])
    policy = settings.pop("policy")
    name = policy.pop("name")
    return SchedulerConfig(policy=PolicyConfig(name, **policy), order=OrderConfig(**settings.pop("order")), **settings)


def load_of(plan: StepPlan) -> list[int]:
    """Prefill tokens, decode rows, and what these attend to."""
    decodes = [row for row in plan.rows if row.from_last]
    prefill = sum(row.tokens for row in plan.rows if not row.from_last)
    return [prefill, len(decodes), sum(row.start + row.tokens for row in decodes)]


class Loop:
    """Does what a journal says was done, and compares what comes of it."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.scheduler = Scheduler(config)
        self.plans: deque[StepPlan] = deque()
        self.ended: dict[int, str] = {}

    def add(self, record: dict[str, Any]) -> None:
        # Prompts have nothing in common, as in the workload: each has tokens of its own.
        prompt = [record["id"] + 1] * record["prompt"]
        request = Request(
            record["id"],
            prompt,
            record["max_tokens"],
            end_ids=[0],
            priority=record.get("priority", 0),
            tenant=record.get("tenant", 0),
            deadline=record.get("deadline"),
            expected_tokens=record.get("expected"),
        )
        self.scheduler.add(request, record["now"])

    def schedule(self, record: dict[str, Any]) -> None:
        plan = self.scheduler.schedule(record["now"])
        assert [request for request, _ in self.scheduler.take_refused()] == [
            request for request, _ in record.get("refused", [])
        ]
        if plan is None:
            assert record.get("step") is None
            return
        assert plan.step == record["step"]
        assert load_of(plan) == record["load"]
        assert [[attach.slot, attach.request] for attach in plan.attach] == record.get("attach", [])
        self.plans.append(plan)

    def update(self, record: dict[str, Any]) -> None:
        plan = self.plans.popleft()
        assert plan.step == record["step"]
        stopped = set(record.get("stop", []))
        rows = [
            RowResult(row=index, tokens=[0 if row.slot in stopped else row.request + 1])
            for index, row in enumerate(plan.rows)
            if row.emits
        ]
        slots = {row.request: row.slot for row in plan.rows}
        outputs = self.scheduler.update(StepResult(step=plan.step, rows=rows), record["now"])
        for kind in ("stop", "length"):
            ended = [output.request for output in outputs if output.finish == kind]
            assert sorted(slots[request] for request in ended) == sorted(record.get(kind, []))
            self.ended.update(dict.fromkeys(ended, kind))


@pytest.mark.parametrize("mode", ["chunked", "prefill_first", "decode_first"])
@pytest.mark.parametrize("policy", PolicyConfig.NAMES)
def test_decisions_are_the_same(policy: str, mode: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    setup = {
        "workload": {
            "source": {
                "kind": "synthetic",
                "prompt": {"kind": "log_normal", "mean": 60.0, "sigma": 0.8, "max": 300},
                "output": {"kind": "uniform", "min": 2, "max": 80},
            },
            "arrivals": {"kind": "gamma", "shape": 0.5},
            "rate": 60.0,
            "max_tokens": 60,
            "tenants": 3,
            "priorities": [0, 0, 5],
            "deadline_ms": 4000.0,
        },
        "cost": {"version": 1, "kind": "fitted", "base_ms": 8.0, "prefill_token_ms": 0.05, "decode_row_ms": 0.1},
        "scheduler": {
            "pages": 160,
            "page_size": 8,
            "slots": 24,
            "context": 512,
            "step_tokens": 256,
            "prefill_chunk": 128,
            "mode": mode,
            "policy": policy,
            "order": {"refuse_late": True},
        },
        "limits": {"requests": 150},
        "seed": 3,
        "journal": str(path),
    }
    report = simulate.run(setup)
    header, *records = map(json.loads, path.read_text().splitlines())
    loop = Loop(config_of(header))
    for record in records:
        [(kind, what)] = record.items()
        getattr(loop, kind)(what)
    assert len(loop.ended) == report["finished"] > 50
    assert {"stop", "length"} == set(loop.ended.values())
    assert not loop.scheduler.has_work()
    assert loop.scheduler.stats().preemptions == report["evictions"]
