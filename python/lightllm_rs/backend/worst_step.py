"""The step that needs the most memory, to measure what is left for the KV cache."""

from __future__ import annotations

import numpy as np

from lightllm_rs.backend.options import Capacity
from lightllm_rs.backend.plan import Plan, read_plan
from lightllm_rs.checkpoint import ModelConfig
from lightllm_rs.messages.frames import pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, Attach, StepPlan

ALTERNATIVES = 20
"""Log-probabilities a row may ask for in the worst step."""

FLOAT = 4


def worst_capacity(capacity: Capacity, step_tokens: int) -> Capacity:
    """`capacity` with just the pages that `worst_plan` needs."""
    pages = -(-row_tokens(capacity, step_tokens) // capacity.page_size)
    return Capacity(
        pages * capacity.slots, capacity.page_size, capacity.slots, capacity.vocab, max(capacity.context, 1)
    )


def row_tokens(capacity: Capacity, step_tokens: int) -> int:
    """Tokens of each of the worst plan's rows."""
    return max(1, min(step_tokens // capacity.slots, capacity.context))


def worst_plan(capacity: Capacity, step_tokens: int) -> Plan:
    """Every slot prefills and samples with all there is, in one step of `step_tokens` tokens."""
    tokens = row_tokens(capacity, step_tokens)
    sampling = Sampling(
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
    pages = -(-tokens // capacity.page_size)
    ids = np.arange(tokens) % capacity.vocab
    slots = np.arange(capacity.slots)
    rows = np.stack([slots, 0 * slots, 0 * slots + tokens, 0 * slots + pages, 0 * slots + EMITS], axis=1)
    plan = StepPlan(
        step=0,
        detach=b"",
        attach=[Attach(slot, tokens, sampling, pack_u32(ids)) for slot in slots.tolist()],
        copies=b"",
        rows=pack_u32(rows),
        new_pages=pack_u32(np.arange(pages * capacity.slots)),
        token_ids=pack_u32(np.tile(ids, capacity.slots)),
    )
    return read_plan(plan, capacity)


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
    """Bytes that captured graphs hold beside the cache: the activations of the largest step, and each graph's own."""
    activations = (capacity.slots + 1024) * (6 * config.hidden + 3 * config.intermediate) * FLOAT
    return activations + graphs * (8 << 20) + (128 << 20)
