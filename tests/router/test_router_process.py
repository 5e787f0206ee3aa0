"""The router process over real sockets: plans, outputs, refusals, aborts, lost clients, bytes that are no frames."""

from __future__ import annotations

import random
from pathlib import Path

from lightllm_rs.messages import control, requests, steps, telemetry
from lightllm_rs.messages.frames import encode, pack_u32, unpack_u32
from lightllm_rs.metric.store import Store
from messages.samples import UNIONS
from router.harness import WAIT_MS, add, from_router, hear, router


def rows_of(plan: steps.StepPlan) -> list[list[int]]:
    return unpack_u32(plan.rows).reshape(-1, steps.ROW_WORDS).tolist()


def test_a_request_becomes_plans_and_its_results_come_back(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(5, [1, 2, 3, 4, 5], 3, end_ids=pack_u32([99]), presence=0.5))
        first = it.plan()
        assert rows_of(first) == [[0, 0, 5, 2, steps.EMITS]]
        assert unpack_u32(first.token_ids).tolist() == [1, 2, 3, 4, 5]
        assert first.attach[0].prompt_len == 5
        assert first.attach[0].sampling.presence == 0.5
        assert unpack_u32(first.attach[0].history or b"").tolist() == [1, 2, 3, 4, 5]
        second = it.plan()  # leaves before the first is answered
        assert rows_of(second) == [[0, 5, 1, 0, steps.EMITS | steps.FROM_LAST]]
        it.answer(first, lambda _: 50)
        output = hear(client)
        assert isinstance(output, requests.StepOutput)
        [row] = output.rows
        assert (row.request, unpack_u32(row.tokens).tolist(), row.finish) == (5, [50], requests.RUNNING)
        assert row.admission is not None
        assert row.admission.cached_tokens == 0
        it.answer(second, lambda _: 99)
        output = hear(client)
        assert isinstance(output, requests.StepOutput)
        assert unpack_u32(output.rows[0].tokens).tolist() == [99]
        assert output.rows[0].finish == requests.STOP


def test_refusals_name_their_kind_and_reach_the_metrics(tmp_path: Path) -> None:
    with router(tmp_path, pages=8) as it:
        client = it.client()
        for frame, kind in (
            (add(1, [1] * 65, 1), "context_exceeded"),
            (add(2, [1] * 10, 60), "context_exceeded"),
            (add(3, [1] * 40, 4), "too_large"),
            (add(4, [100], 1), "invalid"),
            (add(5, [], 1), "invalid"),
        ):
            client.send(frame)
            failed = hear(client)
            assert isinstance(failed, requests.Failed)
            assert failed.kind == kind, failed.message
        for request in range(10, 10 + 4 + 5):  # the first goes to a plan at once, or all wait: at least one is too many
            client.send(add(request, [1, 2], 4))
        failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert failed.kind == "queue_full"
        assert failed.retry_after >= 1
        it.report(lambda values: values.get("lightllm_rejections_total", 0) >= 1)


def test_all_figures_are_declared(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2], 1))
        client.send(add(2, [], 1))
        it.answer(it.plan_with_rows())
        store, names = Store("model"), set()
        while "batch_inference_duration" not in names:
            report = it.figures()
            assert store.take(report, 0.0) == 0, "an entry is unknown, or has other labels than declared"
            names |= {sample.name for sample in report.samples} | {values.name for values in report.observations}
        assert {"lightllm_forks_total", "lightllm_rejections_total", "lightllm_scheduler_seconds"} <= names


def test_an_abort_frees_everything_in_the_next_plan(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2, 3], 30))
        first, second = it.plan(), it.plan()
        client.send(encode(requests.Abort([1])))
        client.send(add(2, [9, 9], 1))
        client.send(add(3, [], 1))
        assert isinstance(hear(client), requests.Failed)  # so it has read the abort before
        it.answer(first)
        third = it.plan()
        assert unpack_u32(third.detach).tolist() == [0]
        it.answer(second)
        it.answer(third, lambda _: 42)
        output = hear(client)
        assert isinstance(output, requests.StepOutput)
        assert [row.request for row in output.rows] == [2]
        values = it.report(lambda values: values["vllm:num_requests_running"] == 0)
        assert values["lightllm_pages_running"] == 0


def test_a_client_that_is_gone_loses_its_requests(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2, 3], 30))
        first, second = it.plan(), it.plan()
        client.close()
        successor = it.client(identity="http-0.2")
        it.answer(first)
        third = it.plan()
        assert unpack_u32(third.detach).tolist() == [0]
        it.answer(second)
        it.answer(third)
        successor.send(add(1, [5], 1))
        it.answer(it.plan())
        assert isinstance(hear(successor), requests.StepOutput)


def test_a_client_that_takes_nothing_in_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    with router(tmp_path, bound=200) as it:
        client = it.client()
        client.send(add(1, [1], 60))
        while True:
            plan = it.plan()
            it.answer(plan)
            if plan.detach:
                break
        seen = 0
        while seen <= 200:
            frame = client.receive(WAIT_MS)
            assert frame is not None
            seen += len(frame)
        client.send(encode(requests.Received(seen)))
        failed = hear(client)
        while isinstance(failed, requests.StepOutput):  # what was on its way when it came to be too much
            failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert (failed.request, failed.kind) == (1, "overrun")
        client.send(add(2, [1], 1))
        it.answer(it.plan())
        assert isinstance(hear(client), requests.StepOutput)


def test_a_failed_step_ends_its_requests_and_no_others(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2, 3], 1))
        plan = it.plan_with_rows()
        it.rank.send(encode(steps.StepFailed(plan.step, 0, "out of memory: try later")))
        failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert (failed.kind, failed.message) == ("backend", "out of memory: try later")
        client.send(add(2, [1, 2, 3], 1))
        plan = it.plan_with_rows()
        extra = [steps.RowExtra(0, error="NaN in the logits")]
        it.rank.send(encode(steps.StepResult(plan.step, b"", b"", b"", extra, 1)))
        failed = hear(client)
        assert isinstance(failed, requests.Failed)
        assert failed.message == "NaN in the logits"
        client.send(add(3, [1, 2, 3], 1))
        it.answer(it.plan_with_rows())
        assert isinstance(hear(client), requests.StepOutput)


def test_bytes_that_are_no_frames_are_counted_and_dropped(tmp_path: Path) -> None:
    draw = random.Random(5)
    frames = [encode(message) for messages in UNIONS.values() for message in messages]
    with router(tmp_path) as it:
        client = it.client()
        for _ in range(2000):
            mangled = bytearray(draw.choice(frames))
            mangled[draw.randrange(len(mangled))] = draw.randrange(256)
            cut = bytes(mangled[: draw.randrange(1, len(mangled) + 1)])
            if cut[:5] not in (b"\x92\xa5ab", b"\x95\xa3add") and b"hello" not in cut[:8]:
                client.send(cut)
        it.report(lambda values: values["lightllm_bad_frames_total"] > 100)
        assert it.process.poll() is None
        other = it.client("http-9", "http-9.1")
        other.send(add(70, [1], 1))
        # What decoded among the mangled frames may have asked for steps of its own.
        assert isinstance(next(it.conversation(other)), requests.StepOutput)


def test_an_answer_out_of_order_ends_the_router_loudly(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2, 3], 5))
        plan = it.plan()
        it.rank.send(encode(steps.StepResult(plan.step + 1, b"", b"", b"", [], 1)))
        fatal = from_router(it)
        assert isinstance(fatal, control.Fatal)
        assert "out of order" in fatal.message
        assert it.process.wait(60) != 0


def test_stop_ends_router_and_rank(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        it.control.send(b"router", encode(control.Stop()))
        assert it.process.wait(60) == 0
        frame = it.rank.receive(WAIT_MS)
        assert frame is not None
        assert isinstance(steps.plan_decoder.decode(frame), steps.RankStop)


def test_a_plan_without_an_answer_is_work_though_its_clients_are_gone(tmp_path: Path) -> None:
    with router(tmp_path) as it:
        client = it.client()
        client.send(add(1, [1, 2, 3], 30))
        it.plan()
        client.send(encode(requests.Abort([1])))
        it.report(lambda values: values["vllm:num_requests_running"] == 0)
        while it.health.receive(0) is not None:
            pass  # some are older than that
        got = it.health.receive(WAIT_MS)
        assert got is not None
        beat = telemetry.health_decoder.decode(got[1])
        assert isinstance(beat, telemetry.Heartbeat)
        assert beat.busy
        assert beat.progress == 0
