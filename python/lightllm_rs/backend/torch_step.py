"""A step under way on the device, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from lightllm_rs.backend.base import LaunchedStep, Outcome
from lightllm_rs.backend.plan import Array
from lightllm_rs.backend.sampling.logprobs import TopLogprobs, entries
from lightllm_rs.backend.sampling.sampler import Sampled, SamplingRows
from lightllm_rs.backend.sampling.table import SamplingTable
from lightllm_rs.backend.step_rows import StepRows
from lightllm_rs.backend.transfer import Fetched
from lightllm_rs.messages.sampling import TokenLogprobs
from lightllm_rs.messages.steps import RowExtra

NOT_FINITE = "the model's numbers for this request are not finite (NaN or infinity); nothing of them was kept"

NO_ERRORS: Mapping[int, str] = {}

POLL_SECONDS = 50e-6


class TorchStep(LaunchedStep):
    """Holds what the outcome is made of.

    Args:
        rows: of the step.
        sampled, asked: what was drawn for the emitting rows, and what the sampler was asked; None if no row emits.
        silent_good: bool [silent rows]; whether their hidden states are finite, None without such rows.
        prompt: scores of prompt positions, None if nobody asked.
        table: tells how many alternatives each row reports.
        errors: rows that failed before the step, and why.
    """

    def __init__(
        self,
        rows: StepRows,
        sampled: Sampled | None,
        asked: SamplingRows | None,
        silent_good: Tensor | None,
        prompt: TopLogprobs | None,
        table: SamplingTable,
        errors: Mapping[int, str] = NO_ERRORS,
    ) -> None:
        self._rows, self._asked, self._errors = rows, asked, errors
        tensors: dict[str, Tensor] = {}
        if sampled is not None:
            tensors |= {"drawn": sampled.drawn} | _named("", sampled.logprobs)
        if silent_good is not None:
            tensors["silent_good"] = silent_good
        self._fetched = Fetched(tensors | _named("prompt_", prompt))
        # Read now: by the time the device is done the slots may hold other requests.
        self._alternatives = table.logprobs[asked.slots[asked.reports]] if asked is not None else None

    def remaining(self) -> float:
        return 0.0 if self._fetched.ready() else POLL_SECONDS

    def outcome(self) -> Outcome:
        arrays = self._fetched.wait()
        rows = self._rows
        drawn = arrays.get("drawn", np.zeros((2, 0), dtype=np.int64))
        # A captured graph drew for its padding rows too.
        tokens, good = drawn[0, : rows.emitting.size], drawn[1, : rows.emitting.size] != 0
        logprobs = self._logprobs(arrays)
        prompt = self._prompt_logprobs(arrays)
        failed = {int(rows.emitting[i]): NOT_FINITE for i in np.flatnonzero(~good)}
        if "silent_good" in arrays:
            failed |= {int(rows.silent[i]): NOT_FINITE for i in np.flatnonzero(~arrays["silent_good"])}
        if self._errors:
            failed |= self._errors
            good = good & ~np.isin(rows.emitting, list(self._errors))
        extras = []
        for row in sorted(failed.keys() | logprobs.keys() | prompt.keys()):
            plan_row = int(rows.plan_rows[row])
            if row in failed:
                extras.append(RowExtra(plan_row, error=failed[row]))
            else:
                start, scores = prompt.get(row, (0, None))
                extras.append(RowExtra(plan_row, logprobs.get(row), start, scores))
        return Outcome(rows.plan_rows[rows.emitting[good]], tokens[good], extras)

    def _logprobs(self, arrays: dict[str, Array]) -> dict[int, list[TokenLogprobs]]:
        """By row, of the token it emitted."""
        if self._asked is None or self._alternatives is None or "chosen" not in arrays:
            return {}
        found = {}
        for i, emitted in enumerate(self._asked.reports.tolist()):
            part = slice(i, i + 1)
            count = int(self._alternatives[i])
            of_row = entries(arrays["chosen"][part], arrays["ids"][part], arrays["values"][part], count)
            found[int(self._rows.emitting[emitted])] = of_row
        return found

    def _prompt_logprobs(self, arrays: dict[str, Array]) -> dict[int, tuple[int, list[TokenLogprobs]]]:
        """By row, the first position and the scores from there on."""
        prompt = self._rows.prompt
        if prompt is None:
            return {}
        found = {}
        end = 0
        for i, row in enumerate(prompt.rows.tolist()):
            part = slice(end, end := end + int(prompt.counts[i]))
            of_row = entries(
                arrays["prompt_chosen"][part],
                arrays["prompt_ids"][part],
                arrays["prompt_values"][part],
                int(prompt.alternatives[i]),
            )
            found[row] = (int(prompt.firsts[i]), of_row)
        return found


def _named(prefix: str, scores: TopLogprobs | None) -> dict[str, Tensor]:
    if scores is None:
        return {}
    return {f"{prefix}chosen": scores.chosen, f"{prefix}ids": scores.ids, f"{prefix}values": scores.values}
