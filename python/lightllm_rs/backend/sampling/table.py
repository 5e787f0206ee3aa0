"""Sampling settings of all slots, on the device and on the host."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.errors import PlanError
from lightllm_rs.backend.plan import Array, known_tokens
from lightllm_rs.backend.sampling.counts import TokenCounts
from lightllm_rs.backend.transfer import Packed, to_device
from lightllm_rs.kernels.draw_tokens import signed
from lightllm_rs.messages.frames import unpack_f32, unpack_u32
from lightllm_rs.messages.images import FIRST_SYNTHETIC
from lightllm_rs.messages.steps import Attach

TEMPERATURE, TOP_P, MIN_P, PRESENCE, FREQUENCY, REPETITION = range(6)


class SamplingTable:
    """Written when a request is attached, read by slot when its rows are sampled.

    Attributes:
        floats: float32 [slots + 1, 6] on the device; see TEMPERATURE ... REPETITION. The slot of padding is the last.
        integers: int64 [slots + 1, 2] on the device; seed, top_k.
        truncates, penalised, biased: bool [slots] on the host; which parts of the sampler a slot needs.
        plain: bool [slots] on the host; a slot needs nothing but a draw.
        min_tokens, prompt_len, logprobs: int64 [slots] on the host.
        bias: token ids and values on the device, of biased slots.
        ends: end ids on the device, of slots with min_tokens.
        counts: for the penalties.
    """

    def __init__(self, slots: int, vocab: int, device: torch.device) -> None:
        self._device, self._vocab = device, vocab
        self.floats = torch.zeros((slots + 1, 6), dtype=torch.float32, device=device)
        self.integers = torch.zeros((slots + 1, 2), dtype=torch.int64, device=device)
        self.truncates, self.penalised, self.biased, self.plain = np.zeros((4, slots), dtype=np.bool_)
        self.min_tokens, self.prompt_len, self.logprobs = np.zeros((3, slots), dtype=np.int64)
        self.bias: dict[int, tuple[Tensor, Tensor]] = {}
        self.ends: dict[int, Tensor] = {}
        self.counts = TokenCounts(slots, vocab, device)

    def attach(self, attached: list[Attach]) -> None:
        """Takes requests in."""
        for request in attached:
            self._attach_host(request)
        settings = [request.sampling for request in attached]
        floats = [(s.temperature, s.top_p, s.min_p, s.presence, s.frequency, s.repetition) for s in settings]
        packed = Packed()
        packed.add("slots", np.array([request.slot for request in attached], dtype=np.int64))
        packed.add("integers", np.array([(signed(s.seed), s.top_k) for s in settings], dtype=np.int64).ravel())
        packed.add("floats", np.array(floats, dtype=np.float32).view(np.int64).ravel())
        packed.send(self._device)
        slots = packed["slots"]
        self.integers.index_copy_(0, slots, packed["integers"].view(-1, 2))
        self.floats.index_copy_(0, slots, packed["floats"].view(torch.float32).view(-1, 6))

    def _attach_host(self, request: Attach) -> None:
        slot, settings = request.slot, request.sampling
        limited = settings.top_p < 1 or settings.top_k > 0 or settings.min_p > 0
        self.truncates[slot] = limited and settings.temperature > 0
        self.penalised[slot] = settings.presence != 0 or settings.frequency != 0 or settings.repetition != 1
        self.biased[slot] = bool(settings.bias_ids)
        self.min_tokens[slot] = settings.min_tokens if settings.end_ids else 0
        self.prompt_len[slot] = request.prompt_len
        self.logprobs[slot] = settings.logprobs
        changed = self.penalised[slot] or self.biased[slot] or self.min_tokens[slot] > 0
        self.plain[slot] = not changed and settings.logprobs < 0
        if self.biased[slot]:
            ids, values = unpack_u32(settings.bias_ids).astype(np.int64), unpack_f32(settings.bias_values)
            if ids.size != values.size or int(ids.max()) >= self._vocab:
                raise PlanError(f"slot {slot}: the logit bias is not one value for each of some token ids")
            self.bias[slot] = (to_device(ids, self._device), to_device(values.copy(), self._device))
        if self.min_tokens[slot] > 0:
            ends = unpack_u32(settings.end_ids).astype(np.int64)
            # An id past the vocabulary is never drawn.
            self.ends[slot] = to_device(ends[ends < self._vocab], self._device)
        if self.penalised[slot]:
            known = known_tokens(request)
            text = known < FIRST_SYNTHETIC
            written = int(text[: request.prompt_len].sum())  # of the prompt, without its pictures
            self.counts.attach(slot, to_device(known[text], self._device), written)

    def masked(self, slots: Array, positions: Array) -> Array:
        """Which rows may not end yet: bool [n], for the slots [n] and the positions of the tokens to be drawn."""
        waiting: Array = positions - self.prompt_len[slots] < self.min_tokens[slots]
        return waiting
