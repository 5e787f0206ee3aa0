"""A backend that computes nothing: it answers the plans of a `Scheduler`, and keeps count of pages and slots."""

from __future__ import annotations

from collections import deque

from lightllm_rs.scheduling import Output, RowResult, Scheduler, SchedulerConfig, StepPlan, StepResult

Tokens = list[int]


class Driver:
    """A scheduler with made-up results. The token that a request gets depends on its id and its length alone."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.scheduler = Scheduler(config)
        self.plans: list[StepPlan] = []
        self.unanswered: deque[StepPlan] = deque()
        self.texts: dict[int, Tokens] = {}
        self.ended: dict[int, str] = {}
        self.tables: dict[int, list[int]] = {}
        """Pages of each slot, as the backend was told of them."""
        self.owners: dict[int, int] = {}
        """Request of each slot."""

    def plan(self, now: int) -> StepPlan | None:
        """Asks for a plan, and checks that it can be carried out."""
        plan = self.scheduler.schedule(now)
        if plan is None:
            return None
        self._carry_out(plan)
        self.plans.append(plan)
        self.unanswered.append(plan)
        return plan

    def answer(self, now: int, *, failed_row: int | None = None) -> list[Output]:
        """Answers the oldest plan; one of its rows may fail."""
        plan = self.unanswered.popleft()
        rows = [
            RowResult(row=index, failed="made up")
            if index == failed_row
            else RowResult(row=index, tokens=[token(row.request, row.start + row.tokens)])
            for index, row in enumerate(plan.rows)
            if row.emits or index == failed_row
        ]
        outputs = self.scheduler.update(StepResult(step=plan.step, rows=rows), now)
        for output in outputs:
            assert output.request not in self.ended, "no news after the last"
            self.texts.setdefault(output.request, []).extend(output.tokens)
            if output.finish is not None:
                self.ended[output.request] = output.finish
        return outputs

    def finish(self, now: int, most_steps: int = 100_000) -> None:
        """Steps until nothing is left."""
        for _ in range(most_steps):
            if self.plan(now) is None:
                if not self.unanswered:
                    assert not self.scheduler.has_work(), "nothing runs, nothing is planned, but there is work"
                    return
                self.answer(now)
        raise AssertionError(f"not done after {most_steps} steps")

    def _carry_out(self, plan: StepPlan) -> None:
        config = self.scheduler.config
        for slot in plan.detach:
            self.owners.pop(slot, None)
            self.tables.pop(slot, None)
        for attach in plan.attach:
            assert attach.slot not in self.owners, "a slot is attached twice"
            assert 0 <= attach.slot < config.slots
            self.owners[attach.slot] = attach.request
            self.tables[attach.slot] = []
        assert len(set(self.owners.values())) == len(self.owners), "a request has two slots"
        assert sum(row.tokens for row in plan.rows) <= config.step_tokens
        assert sum(row.tokens for row in plan.rows if not row.from_last) == len(plan.token_ids)
        for row in plan.rows:
            assert self.owners[row.slot] == row.request
            assert row.tokens <= config.prefill_chunk
            assert row.tokens == 1 or not row.from_last
            table = self.tables[row.slot]
            table.extend(row.new_pages)
            assert len(set(table)) == len(table), "a request has a page twice"
            assert all(0 <= page < config.pages for page in table)
            assert len(table) * config.page_size >= row.start + row.tokens, "positions without a page"
        for source, target in plan.copies:
            assert source != target


def token(request: int, position: int) -> int:
    """The token that a made-up model samples for a request at a position."""
    return (request * 7919 + position * 104729) % 50 + 1
