"""What a backend is held against: the whole sequence in one forward pass of the same model, and no sampler at all."""

from __future__ import annotations

import numpy as np
import torch

from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.messages.frames import unpack_f32, unpack_u32
from lightllm_rs.messages.sampling import TokenLogprobs

PAGE_SIZE = 16


def prompt_of(seed: int, length: int, vocab: int = 384) -> list[int]:
    """Random ids."""
    return np.random.default_rng(seed).integers(0, vocab, length).tolist()


class WholePass:
    """Logits of whole sequences, computed from nothing each time."""

    def __init__(self, backend: TorchBackend) -> None:
        self.model, self.device, self.dtype = backend.model, backend.device, backend.dtype

    @torch.inference_mode()
    def logits(self, ids: list[int]) -> torch.Tensor:
        """float32 [len(ids), vocab]."""
        layers, heads, head_dim = self.model.kv_shape()
        count, device = len(ids), self.device
        pages = -(-count // PAGE_SIZE)
        kv = KvCache(layers, pages, PAGE_SIZE, heads, head_dim, self.dtype, device)
        tokens = torch.arange(count, device=device)
        batch = Batch(
            torch.tensor(ids, device=device),
            tokens,
            tokens,
            tokens,
            prefill_page_table=torch.arange(pages, dtype=torch.int32, device=device).view(1, -1),
            prefill_starts=torch.tensor([0, count], dtype=torch.int32, device=device),
            prefill_lengths=torch.tensor([count], dtype=torch.int32, device=device),
        )
        return self.model.logits(self.model(batch, kv))

    def greedy(self, ids: list[int], count: int) -> list[int]:
        """The most probable next tokens, one pass a token."""
        known = list(ids)
        for _ in range(count):
            known.append(int(self.logits(known)[-1].argmax()))
        return known[len(ids) :]

    def check_logprobs(self, ids: list[int], first: int, entries: list[TokenLogprobs], alternatives: int) -> None:
        """Holds entries about the positions from `first` on against log_softmax."""
        expected = torch.log_softmax(self.logits(ids), -1)
        for position, entry in enumerate(entries, start=first):
            row = expected[position - 1]
            assert abs(entry.chosen - float(row[ids[position]])) < 1e-4
            best = row.topk(alternatives)
            assert unpack_u32(entry.ids).tolist() == best.indices.tolist()
            np.testing.assert_allclose(unpack_f32(entry.values), best.values.cpu().numpy(), atol=1e-4)
