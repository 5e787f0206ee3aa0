"""What FP8 costs in accuracy: the demo model's real weights, teacher-forced on text that its float32 version drew.

For each variant: perplexity of the text, mean and 99th percentile of KL(float32 || variant) over its positions, how
often the most likely token is the same, and how often where float32's two best logits differ by more than 0.25. It runs
on a CPU, which rounds weights, activations, keys and values as a GPU does.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

from lightllm_rs.checkpoint import Checkpoint, locate
from lightllm_rs.kernels.fp8 import FP8
from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.fp8_matrix import Fp8Matrix
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM, load_model
from lightllm_rs.tokenizer.load import load_tokenizer

PROMPTS = (
    "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nWrite a short story about a lighthouse keeper.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nExplain how a bicycle stays upright.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nGive me a recipe for vegetable soup.<|im_end|>\n<|im_start|>assistant\n",
    "Once upon a time, in a village by a river,",
    "def fibonacci(n):\n",
    "The history of the Roman Empire begins",
    "In mathematics, a prime number is",
)
PAGE_SIZE = 16
CLEAR = 0.25


@dataclass(frozen=True)
class Variant:
    """What is rounded."""

    name: str
    dtype: torch.dtype = torch.float32
    weights: bool = False
    activations: bool = False
    kv: bool = False


VARIANTS = (
    Variant("bf16", torch.bfloat16),
    Variant("FP8 weights, activations as they are", weights=True),
    Variant("FP8 weights and activations (`--quantization fp8`)", weights=True, activations=True),
    Variant("FP8 KV cache (`--kv-cache-dtype fp8`)", kv=True),
    Variant("both", weights=True, activations=True, kv=True),
    Variant("both, the rest in bf16: what a GPU does", torch.bfloat16, True, True, True),
)


class Text:
    """One sequence and its cache."""

    def __init__(self, model: CausalLM, tokens: int, kv: torch.dtype) -> None:
        layers, heads, head_dim = model.kv_shape()
        self.model, self.done = model, 0
        self.pages = -(-tokens // PAGE_SIZE)
        self.kv = KvCache(layers, self.pages, PAGE_SIZE, heads, head_dim, kv, "cpu")

    @torch.inference_mode()
    def feed(self, ids: list[int]) -> Tensor:
        """float32 logits [len(ids), vocab] after each of the next tokens."""
        count = len(ids)
        positions = torch.arange(self.done, self.done + count)
        self.done += count
        batch = Batch(
            torch.tensor(ids),
            positions,
            positions,
            torch.arange(count),
            prefill_page_table=torch.arange(self.pages, dtype=torch.int32).view(1, -1),
            prefill_starts=torch.tensor([0, count], dtype=torch.int32),
            prefill_lengths=torch.tensor([self.done], dtype=torch.int32),
            max_prefill_tokens=count,
        )
        return self.model.logits(self.model(batch, self.kv))


def drawn(model: CausalLM, prompt: list[int], tokens: int, generator: torch.Generator) -> list[int]:
    """The prompt and `tokens` more, drawn at temperature 1."""
    ids, text = list(prompt), Text(model, len(prompt) + tokens, torch.float32)
    logits = text.feed(ids)
    for _ in range(tokens):
        ids.append(int(torch.multinomial(torch.softmax(logits[-1], -1), 1, generator=generator)))
        logits = text.feed(ids[-1:])
    return ids


def variant_model(checkpoint: Checkpoint, variant: Variant) -> CausalLM:
    """The model, rounded as `variant` says."""
    model = load_model(checkpoint, dtype=variant.dtype, device=torch.device("cpu"), quantize=variant.weights)
    for module in model.modules():
        if isinstance(module, Fp8Matrix):
            module.rounds_activations = variant.activations
    return model


def forced(model: CausalLM, texts: list[list[int]], kv: torch.dtype) -> Tensor:
    """Log-probabilities [positions, vocab] of all texts; each is fed in chunks, as a server would."""
    parts = []
    for whole in texts:
        ids, text = whole[:-1], Text(model, len(whole), kv)
        parts += [text.feed(ids[start : start + 64]) for start in range(0, len(ids), 64)]
    return torch.log_softmax(torch.cat(parts), -1)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=192, help="drawn tokens a prompt")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    checkpoint = locate()
    tokenizer = load_tokenizer(checkpoint.path)
    model = load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(options.seed)
    texts = [drawn(model, tokenizer.encode(prompt), options.tokens, generator) for prompt in PROMPTS]
    next_ids = torch.tensor([token for ids in texts for token in ids[1:]])
    exact = forced(model, texts, torch.float32)
    best = exact.topk(2).values
    clear = best[:, 0] - best[:, 1] > CLEAR

    def perplexity(scores: Tensor) -> float:
        return float(scores.gather(-1, next_ids[:, None]).mean().neg().exp())

    print(f"{checkpoint.name}, {len(texts)} texts, {len(next_ids)} positions, {int(clear.sum())} of them clear\n")
    print("| variant | perplexity | mean KL | p99 KL | same best token | where clear |\n|---|---|---|---|---|---|")
    print(f"| float32 | {perplexity(exact):.3f} | 0 | 0 | 100 % | 100 % |", flush=True)
    for variant in VARIANTS:
        found = forced(variant_model(checkpoint, variant), texts, FP8 if variant.kv else variant.dtype)
        divergence = (exact.exp() * (exact - found)).sum(-1)
        same = found.argmax(-1) == exact.argmax(-1)
        print(
            f"| {variant.name} | {perplexity(found):.3f} | {divergence.mean():.5f} | {divergence.quantile(0.99):.4f} "
            f"| {100 * same.float().mean():.1f} % | {100 * same[clear].float().mean():.2f} % |",
            flush=True,
        )


if __name__ == "__main__":
    main()
