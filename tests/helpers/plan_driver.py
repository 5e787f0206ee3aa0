"""A stand-in for the router in tests of a backend: makes plans by hand and reads their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from lightllm_rs.backend.base import LaunchedStep, ModelBackend
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.messages.frames import encode, pack_u32
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, FROM_LAST, Attach, RowExtra, StepPlan, plan_decoder

GREEDY = Sampling(temperature=0.0)


def with_settings(base: Sampling = GREEDY, **changes: object) -> Sampling:
    return msgspec.structs.replace(base, **changes)


@dataclass
class Held:
    """What the driver knows of a slot: all ids, the pages, and positions that were given to the backend."""

    ids: list[int]
    prompt_len: int
    pages: list[int] = field(default_factory=list)
    done: int = 0
    told_pages: int = 0


@dataclass
class Row:
    slot: int
    start: int
    ids: list[int]
    from_last: bool
    emits: bool
    pages: list[int]


@dataclass
class Launched:
    rows: list[Row]
    work: LaunchedStep


@dataclass
class Result:
    """tokens by slot; extras by slot."""

    tokens: dict[int, int]
    extras: dict[int, RowExtra]


class Driver:
    """Queue changes and rows, then `step()`. Pages are given out in an order that is not ascending, and never freed
    unless `free` is called."""

    def __init__(self, backend: ModelBackend) -> None:
        self.backend = backend
        self.page_size = backend.capacity.page_size
        self.slots: dict[int, Held] = {}
        self.step_number = 0
        order = np.random.default_rng(0).permutation(backend.capacity.pages)
        self.free_pages = order.tolist()
        self._detach: list[int] = []
        self._attach: list[Attach] = []
        self._copies: list[tuple[int, int]] = []
        self._rows: list[Row] = []
        self._groups: list[tuple[int, int, int]] = []

    def attach(
        self,
        slot: int,
        ids: list[int],
        sampling: Sampling = GREEDY,
        *,
        prompt_len: int | None = None,
        prefix_pages: list[int] | None = None,
        position_offset: int = 0,
        images: Sequence[ImageSpan] = (),
    ) -> None:
        """A request whose known ids are `ids` (output from `prompt_len` on); `prefix_pages` hold a computed prefix."""
        prompt = len(ids) if prompt_len is None else prompt_len
        history = pack_u32(ids) if sampling.wants_history else None
        held = Held(list(ids), prompt, list(prefix_pages or []))
        held.done = len(held.pages) * self.page_size
        self.slots[slot] = held
        self._attach.append(Attach(slot, prompt, sampling, history, position_offset, list(images)))

    def detach(self, slot: int, *, free: bool = False) -> None:
        held = self.slots.pop(slot)
        if free:
            self.free_pages.extend(held.pages)
        self._detach.append(slot)

    def copy_page(self, source: int, target: int) -> None:
        self._copies.append((source, target))

    def prefill(self, slot: int, tokens: int | None = None) -> None:
        """The next `tokens` known ids of the slot, or all; emits if nothing known is left after them."""
        held = self.slots[slot]
        ids = held.ids[held.done :][:tokens]
        self._add_row(slot, ids, from_last=False, emits=held.done + len(ids) == len(held.ids))

    def decode(self, slot: int) -> None:
        self._add_row(slot, [], from_last=True, emits=True)

    def group(self, rows: int, pages: int) -> None:
        """The last `rows` rows that were queued have their first `pages` pages in common."""
        self._groups.append((len(self._rows) - rows, rows, pages))

    def _add_row(self, slot: int, ids: list[int], *, from_last: bool, emits: bool) -> None:
        held = self.slots[slot]
        start = held.done
        held.done += 1 if from_last else len(ids)
        while len(held.pages) * self.page_size < held.done:
            held.pages.append(self.free_pages.pop())
        pages = held.pages[held.told_pages :]
        held.told_pages = len(held.pages)
        self._rows.append(Row(slot, start, ids, from_last, emits, pages))

    def message(self) -> tuple[StepPlan, list[Row]]:
        """The plan of what was queued, which is queued no more."""
        rows = self._rows
        words = [
            (row.slot, row.start, 1 if row.from_last else len(row.ids), len(row.pages), flags(row)) for row in rows
        ]
        plan = StepPlan(
            self.step_number,
            pack_u32(self._detach),
            list(self._attach),
            pack_u32(self._copies),
            pack_u32(words),
            pack_u32([page for row in rows for page in row.pages]),
            pack_u32([token for row in rows for token in row.ids]),
            pack_u32(self._groups),
        )
        self.step_number += 1
        self._detach, self._attach, self._copies, self._rows = [], [], [], []
        self._groups = []
        return plan, rows

    def launch(self) -> Launched:
        plan, rows = self.message()
        received = plan_decoder.decode(encode(plan))
        assert isinstance(received, StepPlan)
        return Launched(rows, self.backend.launch(read_plan(received, self.backend.capacity)))

    def finish(self, launched: Launched) -> Result:
        """Reads the outcome; tokens become known ids."""
        outcome = launched.work.outcome()
        tokens = {
            launched.rows[row].slot: token
            for row, token in zip(outcome.rows.tolist(), outcome.tokens.tolist(), strict=True)
        }
        extras = {launched.rows[extra.row].slot: extra for extra in outcome.extras}
        emitting = {row.slot for row in launched.rows if row.emits}
        failed = {slot for slot, extra in extras.items() if extra.error is not None}
        assert set(tokens) == emitting - failed
        for slot, token in tokens.items():
            if slot in self.slots:
                self.slots[slot].ids.append(token)
        return Result(tokens, extras)

    def step(self) -> Result:
        return self.finish(self.launch())

    def generate(self, slot: int, count: int) -> list[int]:
        """Prefills all that is known in one row, then decodes until `count` tokens are out."""
        self.prefill(slot)
        tokens = [self.step().tokens[slot]]
        while len(tokens) < count:
            self.decode(slot)
            tokens.append(self.step().tokens[slot])
        return tokens


def flags(row: Row) -> int:
    return (EMITS if row.emits else 0) | (FROM_LAST if row.from_last else 0)


def broken(plan: StepPlan, **changes: object) -> StepPlan:
    """The plan with some fields changed."""
    return msgspec.structs.replace(plan, **changes)
