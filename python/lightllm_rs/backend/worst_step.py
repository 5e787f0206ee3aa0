"""The step that needs the most memory, to measure what is left for the KV cache."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lightllm_rs.backend.mixed_graphs import FEW_TOKENS, ROWS
from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import Plan, read_plan
from lightllm_rs.checkpoint import ModelConfig
from lightllm_rs.messages.frames import pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, FROM_LAST, Attach, StepPlan

ALTERNATIVES = 20
"""Log-probabilities a row may ask for in the worst step."""

FLOAT = 4


EVERYTHING = Sampling(
    temperature=1.0,
    top_p=0.9,
    top_k=50,
    min_p=0.01,
    presence=0.1,
    frequency=0.1,
    repetition=1.1,
    logprobs=ALTERNATIVES,
    prompt_logprobs=ALTERNATIVES,
)
"""A request for all that the sampler can do."""


@dataclass(frozen=True)
class WorstSteps:
    """Two steps of `step_tokens` tokens whose requests all want `EVERYTHING`.

    In the first each slot prefills `each` tokens; all sample but the last slot, whose prompt is longer. In the second
    that one prefills `rest` more and samples, and all others decode. Together they are the largest of each kind: most
    rows that sample, most prompt positions that are scored, most decode rows of a step that no graph has room for.
    """

    capacity: Capacity
    each: int
    rest: int

    @classmethod
    def of(cls, capacity: Capacity, step_tokens: int) -> WorstSteps:
        """Those of a backend with the slots, vocabulary and context of `capacity`."""
        slots, context = capacity.slots, max(1, capacity.context)
        each = max(1, min(step_tokens // slots, context - 1))
        return cls(capacity, each, max(0, min(step_tokens - (slots - 1), context - each)))

    @property
    def pages_needed(self) -> int:
        """Pages of both steps."""
        decoded, last = self._pages(self.each + 1), self._pages(self.each + self.rest)
        return (self.capacity.slots - 1) * decoded + last

    def plans(self, first_step: int = 0, held: bool = False) -> list[Plan]:
        """The plans, one if the context leaves nothing for a second. held: all slots hold requests, which go first."""
        capacity, each, rest = self.capacity, self.each, self.rest
        slots, last = np.arange(capacity.slots), capacity.slots - 1
        ids = np.arange(each + rest) % capacity.vocab
        prompts = [ids[:each]] * last + [ids]
        zero = np.zeros_like(slots)
        counts = zero + self._pages(each)
        rows = np.stack([slots, zero, zero + each, counts, zero + EMITS], axis=1)
        rows[last, 4] = 0 if rest else EMITS
        first = StepPlan(
            step=first_step,
            detach=pack_u32(slots if held else []),
            attach=[Attach(slot, len(ids), EVERYTHING, pack_u32(ids)) for slot, ids in enumerate(prompts)],
            copies=b"",
            rows=pack_u32(rows),
            new_pages=pack_u32(np.arange(counts.sum())),
            token_ids=pack_u32(np.tile(ids[:each], capacity.slots)),
        )
        if not rest:
            return [read_plan(first, capacity)]
        more = zero + self._pages(each + 1) - counts
        more[last] = self._pages(each + rest) - counts[last]
        rows = np.stack([slots, zero + each, zero + 1, more, zero + (EMITS | FROM_LAST)], axis=1)
        rows[last] = (last, each, rest, more[last], EMITS)
        second = StepPlan(
            step=first_step + 1,
            detach=b"",
            attach=[],
            copies=b"",
            rows=pack_u32(rows),
            new_pages=pack_u32(counts.sum() + np.arange(more.sum())),
            token_ids=pack_u32(ids[each:]),
        )
        return [read_plan(first, capacity), read_plan(second, capacity)]

    def _pages(self, tokens: int) -> int:
        return -(-tokens // self.capacity.page_size)


def worst_capacity(capacity: Capacity, step_tokens: int) -> Capacity:
    """`capacity` with just the pages that `WorstSteps` need."""
    return replace(capacity, pages=WorstSteps.of(capacity, step_tokens).pages_needed)


def estimated_working(config: ModelConfig, capacity: Capacity, step_tokens: int) -> int:
    """Bytes that a step may need on a CPU, where it is not measured: a start shall be short, and memory is pageable.

    A handful of copies of the activations of all tokens, and of the logits of all slots.
    """
    activations = step_tokens * (6 * config.hidden + 3 * config.intermediate) * FLOAT
    return activations + 6 * capacity.slots * capacity.vocab * FLOAT


def images_working(config: ModelConfig, step_tokens: int, element: int) -> int:
    """Bytes that features of pictures take in a step of nothing else, as they come and as they are put together: the
    worst step has none. 0 for a model of text."""
    return 0 if config.vision is None else 2 * step_tokens * config.vision.width(config.hidden) * element


def graphs_working(config: ModelConfig, capacity: Capacity, graphs: int) -> int:
    """Bytes that captured graphs hold beside the cache: the activations of the largest decode step and of the largest
    that prefills, the logits of a decode step, and each graph's own."""
    rows = max(capacity.slots + FEW_TOKENS[-1], ROWS[-1])
    activations = 2 * rows * (6 * config.hidden + 3 * config.intermediate) * FLOAT
    logits = capacity.slots * capacity.vocab * FLOAT
    return activations + logits + graphs * (8 << 20) + (128 << 20)
