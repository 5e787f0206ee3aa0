"""bfloat16 on the demo model's real weights: what rounding, the prefix cache and batch neighbours do to the numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helpers.divergence import PREFIX_KL, decided, divergence
from helpers.model_runner import ModelRunner, Sequence
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import load_model
from lightllm_rs.tokenizer.load import load_tokenizer

PROMPTS = [
    "What is the capital of France?",
    "Explain photosynthesis in two sentences.",
    "def fibonacci(n):",
    "Translate 'good morning' into Spanish.",
    "Once upon a time, in a village by a river,",
    "2 + 2 =",
]
TOKENS = 24
PAGE = 16


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return str(request.param)


def runner_of(dtype: torch.dtype, device: str) -> ModelRunner:
    model = load_model(locate(), dtype=dtype, device=torch.device(device))
    return ModelRunner(model, pages=256, page_size=PAGE, dtype=dtype, device=device)


@pytest.fixture(scope="module")
def rounded(device: str) -> ModelRunner:
    return runner_of(torch.bfloat16, device)


@pytest.fixture(scope="module")
def forced(device: str) -> list[tuple[list[int], Tensor]]:
    """float32's own greedy text after each prompt, prompt included, and float32's logits at every place of it."""
    exact = runner_of(torch.float32, device)
    tokenizer = load_tokenizer(locate().path)
    prompts = [tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n") for text in PROMPTS]
    texts = [ids + more for ids, more in zip(prompts, exact.greedy(prompts, TOKENS), strict=True)]
    return [(text, alone(exact, text)) for text in texts]


def alone(runner: ModelRunner, text: list[int]) -> Tensor:
    """Logits at every place of a text that is prefilled by itself."""
    sequence = Sequence(text)
    logits = runner.step([], [(sequence, len(text))], every=True)
    runner.free.extend(sequence.pages)
    return logits


def test_the_best_token_is_the_same_where_it_is_clear(
    rounded: ModelRunner, forced: list[tuple[list[int], Tensor]]
) -> None:
    clear = 0
    for text, exact in forced:
        found = alone(rounded, text)
        where = decided(exact)
        clear += int(where.sum())
        assert torch.equal(found.argmax(-1)[where], exact.argmax(-1)[where]), text
        error = (found - exact).abs().max() / exact.abs().max()
        assert error.item() < 0.05, text
        assert divergence(exact.log_softmax(-1), found.log_softmax(-1)).mean() < 2 * PREFIX_KL
    assert clear > len(forced) * TOKENS // 2, "the texts say something about most places"


def test_a_cached_prefix_gives_the_same_numbers(rounded: ModelRunner, forced: list[tuple[list[int], Tensor]]) -> None:
    """The prefix is computed in another batch, beside other texts, and the rest in pieces, the last ones decoded."""
    for text, _ in forced:
        fresh = alone(rounded, text).log_softmax(-1)
        first, other = Sequence(text), Sequence(text[::-1])
        rounded.step([], [(other, 5), (first, 2 * PAGE)])
        hit = Sequence(text, done=PAGE, pages=first.pages[:1])
        pieces = [rounded.step([], [(hit, 7), (other, 9)], every=True)[:7]]
        while hit.done < len(text):
            pieces.append(rounded.step([hit])[:1])
        cached = torch.cat(pieces).log_softmax(-1)
        assert cached.shape == fresh[PAGE:].shape
        assert divergence(fresh[PAGE:], cached).mean() < PREFIX_KL, text
        rounded.free.extend(first.pages + other.pages + hit.pages[1:])


def test_neighbours_do_not_matter(rounded: ModelRunner, forced: list[tuple[list[int], Tensor]]) -> None:
    """Every text prefilled and then decoded with all others in one batch, against itself alone."""
    sequences = [Sequence(text) for text, _ in forced]
    prompts = [len(text) - TOKENS // 2 for text, _ in forced]
    first = rounded.step([], list(zip(sequences, prompts, strict=True)))
    steps = [first]
    for _ in range(TOKENS // 2):
        steps.append(rounded.step(sequences))
    together = torch.stack(steps, 1).log_softmax(-1)
    for sequence, prompt, found in zip(sequences, prompts, together, strict=True):
        fresh = alone(rounded, sequence.ids).log_softmax(-1)[prompt - 1 :]
        assert divergence(fresh, found).mean() < PREFIX_KL, sequence.ids
        rounded.free.extend(sequence.pages)
