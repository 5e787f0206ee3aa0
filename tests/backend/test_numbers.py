"""bfloat16 through the whole backend, captured graphs included: how a request is computed does not show in its answer.

Requests ask for the log-probability of every token of a small vocabulary, so that whole distributions are compared.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from helpers.divergence import PREFIX_KL, divergence
from helpers.plan_driver import Driver, Result, with_settings
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import prompt_of
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.messages.frames import unpack_f32, unpack_u32
from lightllm_rs.messages.sampling import TokenLogprobs

VOCAB = 384
PAGE = 16
EVERY = with_settings(logprobs=VOCAB, prompt_logprobs=VOCAB)
SHAPE = {"hidden_size": 512, "intermediate_size": 1024, "head_dim": 128, "num_attention_heads": 8}
PROMPT = prompt_of(1, 100)
STEPS = 10


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> TorchBackend:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    folder = make_tiny_model(tmp_path_factory.mktemp("model"), "qwen3", **SHAPE)
    backend = TorchBackend()
    options = BackendOptions(
        str(folder), dtype="bfloat16", device=request.param, kv_cache_tokens=8192, slots=24, page_size=PAGE, threads=2
    )
    backend.init_model(options, lambda *_: None)
    return backend


@pytest.fixture
def driver(backend: TorchBackend) -> Driver:
    backend.open(Capacity(backend.capacity.pages, PAGE, 24, VOCAB, 512))
    if backend.device.type == "cuda":
        backend.capture()
    return Driver(backend)


def distributions(entries: list[TokenLogprobs]) -> torch.Tensor:
    """Log-probabilities [n, vocab] in the order of the ids."""
    rows = np.zeros((len(entries), VOCAB), dtype=np.float32)
    for row, entry in zip(rows, entries, strict=True):
        row[unpack_u32(entry.ids)] = unpack_f32(entry.values)
    return torch.from_numpy(rows)


def sampled(results: list[Result], slot: int) -> torch.Tensor:
    """What the slot drew from in each step."""
    return torch.cat([distributions(result.extras[slot].logprobs) for result in results])


def decode(driver: Driver, slots: list[int], steps: int, shared: int = 0) -> list[Result]:
    """shared: pages that all slots have in common, if any."""
    results = []
    for _ in range(steps):
        for slot in slots:
            driver.decode(slot)
        if shared:
            driver.group(len(slots), shared)
        results.append(driver.step())
    return results


def agree(one: torch.Tensor, other: torch.Tensor, texts: tuple[list[int], list[int]]) -> None:
    """Both drew from the same distributions, as long as they drew the same tokens."""
    same = next((at for at, (a, b) in enumerate(zip(*texts, strict=True)) if a != b), len(texts[0]))
    assert same > 0
    divergences = divergence(one, other)[: same + 1]
    assert divergences.mean() < PREFIX_KL
    if same < len(texts[0]):  # then the two were about as good
        first, second = (float(one[same, text[same]]) for text in texts)
        assert first - second < 0.1


def alone(driver: Driver, slot: int) -> torch.Tensor:
    driver.attach(slot, PROMPT, with_settings(logprobs=VOCAB))
    driver.prefill(slot)
    first = driver.step()
    return sampled([first, *decode(driver, [slot], STEPS)], slot)


def test_a_prefix_hit_gives_what_a_fresh_prefill_gives(driver: Driver) -> None:
    driver.attach(0, PROMPT, EVERY)
    driver.prefill(0)
    fresh = driver.step().extras[0].prompt_logprobs
    driver.attach(1, PROMPT, EVERY, prefix_pages=driver.slots[0].pages[:3])
    driver.prefill(1, 20)
    parts = driver.step().extras[1].prompt_logprobs
    driver.prefill(1)
    parts += driver.step().extras[1].prompt_logprobs
    assert len(parts) == 99 - 3 * PAGE
    found, wanted = distributions(parts), distributions(fresh[3 * PAGE :])
    assert divergence(wanted, found).mean() < PREFIX_KL


def test_neighbours_do_not_matter(driver: Driver) -> None:
    expected = alone(driver, 0)
    others = list(range(2, 22))
    for slot in others[:10]:
        driver.attach(slot, prompt_of(slot, 5 + 11 * slot))
        driver.prefill(slot)
    driver.step()
    driver.attach(1, PROMPT, with_settings(logprobs=VOCAB))
    driver.prefill(1)
    for slot in others[:10]:
        driver.decode(slot)
    for slot in others[10:]:
        driver.attach(slot, prompt_of(slot, 3 * slot))
        driver.prefill(slot)
    results = [driver.step(), *decode(driver, [1, *others], STEPS)]
    texts = tuple(driver.slots[slot].ids[len(PROMPT) :] for slot in (0, 1))
    agree(expected, sampled(results, 1), (texts[0], texts[1]))


def test_slots_with_pages_in_common(driver: Driver) -> None:
    """Decode rows whose first pages are the same ones, each against what it gives without the others."""
    expected = alone(driver, 0)
    shared = driver.slots[0].pages[:5]
    group = list(range(1, 9))
    for slot in group:
        driver.attach(slot, PROMPT, with_settings(logprobs=VOCAB), prefix_pages=list(shared))
        driver.prefill(slot)
    results = [driver.step(), *decode(driver, group, STEPS, len(shared))]
    for slot in group:
        texts = tuple(driver.slots[one].ids[len(PROMPT) :] for one in (0, slot))
        agree(expected, sampled(results, slot), (texts[0], texts[1]))
