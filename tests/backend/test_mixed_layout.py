"""A step in the fixed layout of a captured graph gives the same hidden states as the step itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import prompt_of
from lightllm_rs.backend.forward import batch_of, pack_batch
from lightllm_rs.backend.mixed_layout import PREFILL_ROWS, MixedLayout
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.backend.step_rows import step_rows
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.messages.frames import pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import EMITS, FROM_LAST, Attach, StepPlan

SLOTS = PREFILL_ROWS + 4
PAGES_A_ROW = 4


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> TorchBackend:
    backend = TorchBackend()
    options = BackendOptions(str(make_tiny_model(tmp_path_factory.mktemp("model"))), device="cpu", dtype="float32")
    backend.init_model(options, lambda *_: None)
    return backend


def message(rows: list[list[int]], ids: list[int], attach: list[int], lengths: list[int]) -> StepPlan:
    pages = [page for row in rows for page in range(PAGES_A_ROW * row[0], PAGES_A_ROW * row[0] + row[3])]
    attached = [Attach(slot, length, Sampling(temperature=0.0)) for slot, length in zip(attach, lengths, strict=True)]
    return StepPlan(1, b"", attached, b"", pack_u32(np.array(rows)), pack_u32(np.array(pages)), pack_u32(np.array(ids)))


@pytest.mark.parametrize(
    ("decodes", "prefills", "tokens"),
    [(0, [1], 64), (6, [2, 7], 64), (3, [5, 16, 20], 64), (4, [3] * PREFILL_ROWS, 48), (1, [30], 40)],
)
def test_padding_changes_nothing(backend: TorchBackend, decodes: int, prefills: list[int], tokens: int) -> None:
    backend.open(Capacity(PAGES_A_ROW * SLOTS, 16, SLOTS, backend.model.config.vocab, 16 * PAGES_A_ROW))
    slots = list(range(decodes))
    if decodes:  # requests of different lengths that then decode
        rows = [[slot, 0, 4 + slot, PAGES_A_ROW, EMITS] for slot in slots]
        ids = [token for slot in slots for token in prompt_of(slot, 4 + slot)]
        plan = message(rows, ids, slots, [4 + slot for slot in slots])
        backend.launch(read_plan(plan, backend.capacity)).outcome()
    rows = [[slot, 4 + slot, 1, 0, EMITS | FROM_LAST] for slot in slots]
    new = [decodes + index for index in range(len(prefills))]
    rows += [[slot, 0, count, PAGES_A_ROW, EMITS * (slot % 2)] for slot, count in zip(new, prefills, strict=True)]
    ids = [token for slot, count in zip(new, prefills, strict=True) for token in prompt_of(slot, count)]
    plan = read_plan(message(rows, ids, new, prefills), backend.capacity)
    backend.slots.apply(plan)
    backend.apply_changes(plan)
    step = step_rows(plan, plan.decode, plan.prefill, backend.slots, {})

    with torch.inference_mode():
        packed = Packed()
        pack_batch(step, packed)
        packed.send(backend.device)
        expected = backend.model(batch_of(step, packed, backend.state), backend.kv)
        layout = MixedLayout(decodes + 3, tokens, backend.state)
        array = layout.array(step)
        assert array.shape == layout.array(None).shape == (layout.size,)
        keys = backend.kv.k.clone()
        hidden = backend.model(layout.batch(torch.from_numpy(array)), backend.kv)
    found = hidden[torch.from_numpy(layout.outputs(np.arange(step.slots.size), decodes))]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backend.kv.k[:, :-1], keys[:, :-1], rtol=1e-4, atol=1e-4)
