"""What the wire says of priorities, deadlines, tenants and choices is what the router process does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightllm_rs.messages import control, requests, steps
from lightllm_rs.messages.frames import encode, pack_u32, unpack_u32
from lightllm_rs.messages.router_start import JournalStart
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.sockets import Dealer
from router.harness import RouterProcess, add, from_router, hear, router


def request(number: int, prompt: list[int], max_tokens: int = 1, **fields: Any) -> bytes:
    """The frame of a request with `fields` beside the sampling."""
    return encode(requests.Add(number, pack_u32(prompt), max_tokens, Sampling(), **fields))


def rows_of(plan: steps.StepPlan) -> list[list[int]]:
    return unpack_u32(plan.rows).reshape(-1, steps.ROW_WORDS).tolist()


def fill(it: RouterProcess, client: Dealer, runners: int = 4) -> list[steps.StepPlan]:
    """Fills all slots with requests 900, 901, ... of 30 tokens; the plans that are not answered yet."""
    for number in range(runners):
        client.send(add(900 + number, [80 + number], 30))
    plans = [it.plan()]
    while len(rows_of(plans[-1])) < runners:
        it.answer(plans.pop(0))
        plans.append(it.plan())
    return plans


def served(it: RouterProcess, client: Dealer, plans: list[steps.StepPlan], wanted: int) -> list[int]:
    """Answers plans until `wanted` requests below 900 have ended; these in order."""
    while plans:
        it.answer(plans.pop(0))
    ended: list[int] = []
    for message in it.conversation(client):
        assert isinstance(message, requests.StepOutput)
        ended += [row.request for row in message.rows if row.finish != requests.RUNNING and row.request < 900]
        if len(ended) >= wanted:
            break
    return ended


def test_lower_priorities_go_first(tmp_path: Path) -> None:
    with router(tmp_path, queue_requests=64, priority_age_us=10**12) as it:
        client = it.client()
        plans = fill(it, client)
        for number, priority in ((1, 10), (2, 0), (3, -5), (4, 10), (5, -1000)):
            client.send(request(number, [number], priority=priority))
        client.send(encode(requests.Abort([900])))  # one slot for all of them
        client.send(add(77, [], 1))
        while not isinstance(hear(client), requests.Failed):
            pass  # outputs of those that run; after it the router has read all that was sent before
        assert served(it, client, plans, 5) == [5, 3, 2, 1, 4]


def test_tenants_take_turns(tmp_path: Path) -> None:
    with router(tmp_path, queue_requests=64, tenant_quantum=4) as it:
        client = it.client()
        plans = fill(it, client)
        for number, tenant in ((1, 7), (2, 7), (3, 7), (4, 7), (5, 8), (6, 8)):
            client.send(request(number, [number] * 4, tenant=tenant))
        client.send(encode(requests.Abort([900])))
        client.send(add(77, [], 1))
        while not isinstance(hear(client), requests.Failed):
            pass
        order = served(it, client, plans, 6)
        assert max(order.index(5), order.index(6)) < order.index(4), order
        assert order.index(5) <= 2, order


def test_a_request_that_would_be_late_is_refused(tmp_path: Path) -> None:
    with router(tmp_path, refuse_late=True) as it:
        client = it.client()
        plans = fill(it, client)
        client.send(request(1, [1, 2], deadline_ms=1))
        client.send(request(2, [1, 2], deadline_ms=600_000))
        while plans:
            it.answer(plans.pop(0))
        failed = next(message for message in it.conversation(client) if isinstance(message, requests.Failed))
        assert (failed.request, failed.kind) == (1, "deadline")
        assert failed.retry_after >= 1
        assert "deadline" in failed.message
        client.send(encode(requests.Abort([900, 901])))
        assert served(it, client, plans, 1) == [2]
        labels = {}
        while "deadline" not in labels:
            labels |= {sample.labels[0]: sample.value for sample in it.samples() if sample.labels}
        assert labels["deadline"] == 1


def test_choices_share_their_prompt(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        siblings = [requests.Sibling(11, 5), requests.Sibling(12, 6)]
        client.send(request(10, [1, 2, 3, 4, 5, 6], 3, siblings=siblings))
        computed: list[int] = []
        copies = 0
        seeds: list[int] = []
        tokens: dict[int, list[int]] = {10: [], 11: [], 12: []}

        def take(plan: steps.StepPlan) -> None:
            nonlocal copies
            seeds.extend(attach.sampling.seed for attach in plan.attach)
            computed.extend(row[2] for row in rows_of(plan) if not row[4] & steps.FROM_LAST)
            copies += len(unpack_u32(plan.copies)) // 2
            it.answer(plan, lambda row: 40 + row)

        ended = 0
        for output in it.conversation(client, take):
            assert isinstance(output, requests.StepOutput)
            for row in output.rows:
                tokens[row.request] += unpack_u32(row.tokens).tolist()
                ended += row.finish != requests.RUNNING
            if ended == 3:
                break
        assert sorted(seeds) == [0, 5, 6]
        assert sum(computed) == 6 + 2, "the prompt once, and its last token for each of the others"
        assert copies == 2, "the last page is not full: each gets its own"
        assert {len(some) for some in tokens.values()} == {3}
        it.report(lambda values: values["lightllm_forks_total"] == 2 and values["lightllm_page_copies_total"] == 2)


def test_choices_are_refused_together(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(request(1, [100], siblings=[requests.Sibling(2, 0), requests.Sibling(3, 0)]))
        refused = [hear(client) for _ in range(3)]
        assert [(failed.request, failed.kind) for failed in refused if isinstance(failed, requests.Failed)] == [
            (1, "invalid"),
            (2, "invalid"),
            (3, "invalid"),
        ]
        five = [requests.Sibling(number, 0) for number in range(5, 9)]
        client.send(request(4, [1], siblings=five))
        messages = {
            failed.message for failed in (hear(client) for _ in range(5)) if isinstance(failed, requests.Failed)
        }
        assert len(messages) == 1
        assert "4 requests run at once" in messages.pop()
        client.send(request(1, [1], siblings=[requests.Sibling(2, 0)]))
        it.answer(it.plan_with_rows())


def test_settings_that_make_no_scheduler_end_the_start(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="window"),
        router(tmp_path, policy="past_future", policy_parameters=[("window", 0.0)]),
    ):
        pass


def drive(it: RouterProcess) -> None:
    """Some of everything: choices, priorities, tenants, aborts, refusals, a failed row and a failed step."""
    client = it.client()
    shared = list(range(20, 34))
    for number in range(1, 13):
        prompt = [*shared[: number % 3 * 6], number]
        siblings = [requests.Sibling(100 + number, number)] if number % 4 == 0 else []
        client.send(
            request(
                number,
                prompt,
                1 + number % 5,
                priority=number % 3,
                tenant=number % 2,
                class_label=number % 4,
                deadline_ms=60_000,
                siblings=siblings,
            )
        )
    client.send(add(50, [], 1))
    client.send(encode(requests.Abort([3, 11])))
    count = 0

    def take(plan: steps.StepPlan) -> None:
        nonlocal count
        if count == 4:
            it.rank.send(encode(steps.StepFailed(plan.step, 0, "out of memory")))
        elif count == 6:
            rows = rows_of(plan)
            emitting = [row for row in range(1, len(rows)) if rows[row][4] & steps.EMITS]
            ones, tokens = pack_u32([1] * len(emitting)), pack_u32([9] * len(emitting))
            extras = [steps.RowExtra(0, error="NaN in its logits")] if rows else []
            it.rank.send(encode(steps.StepResult(plan.step, pack_u32(emitting), ones, tokens, extras, 10)))
        else:
            it.answer(plan, lambda row: 40 + row)
        count += 1

    left = {*range(1, 13), 50, 104, 108, 112} - {3, 11}
    for message in it.conversation(client, take):
        if isinstance(message, requests.StepOutput):
            left -= {row.request for row in message.rows if row.finish != requests.RUNNING}
        elif isinstance(message, requests.Failed):
            left.discard(message.request)
        if not left:
            break
    it.control.send(b"router", encode(control.Stop()))
    assert it.process.wait(60) == 0


@pytest.mark.parametrize("tokens", [False, True])
def test_a_journal_replays_to_the_same_plans(tmp_path: Path, tokens: bool) -> None:
    path = tmp_path / "journal.jsonl"
    with router(tmp_path, queue_requests=9, journal=JournalStart(str(path), tokens, bytes(range(16)))) as it:
        drive(it)
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = {next(iter(line)) for line in lines[1:]}
    assert kinds == {"add", "schedule", "update", "abort", "fail_step"}
    assert lines[0]["tokens"] is tokens
    prompt = [line["add"] for line in lines[1:] if "add" in line][1]
    assert ("tokens" in prompt) is tokens
    done = subprocess.run(
        [sys.executable, "-m", "lightllm_rs", "replay", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout
    assert sum("schedule" in line and "step" in line["schedule"] for line in lines[1:]) > 10


def test_a_disk_that_fails_ends_the_journal_and_nothing_else(tmp_path: Path) -> None:
    for path in ("/dev/full", str(tmp_path / "no" / "folder")):
        with router(tmp_path, journal=JournalStart(path, False, bytes(16))) as it:
            client = it.client()
            client.send(add(1, [1, 2], 1))
            it.answer(it.plan_with_rows())
            assert isinstance(hear(client), requests.StepOutput)
            notice = from_router(it)
            assert isinstance(notice, control.Notice)
            assert "the service goes on" in notice.message
            it.report(lambda values: values["lightllm_journal_errors_total"] == 1)
            client.send(add(2, [1, 2], 1))
            it.answer(it.plan_with_rows())
            assert isinstance(hear(client), requests.StepOutput)
