"""Drives a model by hand, as the executor of a backend would: sequences, pages, ragged batches. For tests of models."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.image_rows import ImageRows
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM


@dataclass
class Sequence:
    """`ids` is the whole text; `done` of its tokens are in the cache, in `pages`."""

    ids: list[int]
    done: int = 0
    pages: list[int] = field(default_factory=list)


class ModelRunner:
    """Pages are given out in a shuffled order, so that nothing passes because pages happen to be neighbours."""

    def __init__(
        self, model: CausalLM, *, pages: int = 64, page_size: int = 8, dtype: torch.dtype, device: str
    ) -> None:
        self.model, self.device, self.page_size = model, device, page_size
        layers, heads, head_dim = model.kv_shape()
        self.kv = KvCache(layers, pages, page_size, heads, head_dim, dtype, device)
        self.kv.k.fill_(float("nan"))  # what was never written must never be read
        self.kv.v.fill_(float("nan"))
        order = torch.randperm(pages, generator=torch.Generator().manual_seed(1))
        self.free: list[int] = order.tolist()

    def step(
        self,
        decodes: list[Sequence],
        prefills: list[tuple[Sequence, int]] = (),
        every: bool = False,
        images: ImageRows | None = None,
    ) -> Tensor:  # type: ignore[assignment]
        """Run the next token of each of `decodes` and the next n tokens of each of `prefills` as one batch, where some
        tokens stand for `images`.

        Returns the float32 CPU logits of each row's last token, or of every token.
        """
        rows = [(sequence, 1) for sequence in decodes] + list(prefills)
        ids, positions, slots = [], [], []
        for sequence, count in rows:
            end = sequence.done + count
            while len(sequence.pages) * self.page_size < end:
                sequence.pages.append(self.free.pop())
            for position in range(sequence.done, end):
                ids.append(sequence.ids[position])
                positions.append(position)
                page, offset = divmod(position, self.page_size)
                slots.append(sequence.pages[page] * self.page_size + offset)
            sequence.done = end
        counts = [count for _, count in rows]
        lasts = torch.tensor(counts).cumsum(0) - 1
        batch = Batch(
            token_ids=self.tensor(ids, torch.int64),
            positions=self.tensor(positions, torch.int64),
            slot_pages=self.tensor(slots, torch.int64),
            output_rows=torch.arange(len(ids), device=self.device) if every else lasts.to(self.device),
            ends=not every,
            decode_rows=len(decodes),
            images=images,
        )
        if decodes:
            batch.decode_page_table, batch.decode_lengths = self.tables(decodes)
        if prefills:
            batch.prefill_page_table, batch.prefill_lengths = self.tables([sequence for sequence, _ in prefills])
            news = torch.tensor([0, *(count for _, count in prefills)])
            batch.prefill_starts = news.cumsum(0).to(self.device, torch.int32)
        with torch.inference_mode():
            return self.model.logits(self.model(batch, self.kv)).cpu()

    def tables(self, sequences: list[Sequence]) -> tuple[Tensor, Tensor]:
        """(page table, lengths); entries past a row's pages are rubbish on purpose."""
        width = max(len(sequence.pages) for sequence in sequences) + 1
        table = torch.full((len(sequences), width), 2**31 - 1)
        for row, sequence in enumerate(sequences):
            table[row, : len(sequence.pages)] = torch.tensor(sequence.pages)
        lengths = self.tensor([sequence.done for sequence in sequences], torch.int32)
        return table.to(self.device, torch.int32), lengths

    def tensor(self, values: list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self.device)

    def greedy(self, prompts: list[list[int]], tokens: int, end_ids: tuple[int, ...] = ()) -> list[list[int]]:
        """The greedy continuation of each prompt, at most `tokens` long, an end token included; all in one batch."""
        sequences = [Sequence(list(prompt)) for prompt in prompts]
        running = sequences
        for step in range(tokens):
            logits = self.step(running) if step else self.step([], [(one, len(one.ids)) for one in sequences])
            for sequence, row in zip(running, logits, strict=True):
                sequence.ids.append(int(row.argmax()))
            running = [sequence for sequence in running if sequence.ids[-1] not in end_ids]
            if not running:
                break
        for sequence in sequences:
            self.free.extend(sequence.pages)
        return [sequence.ids[len(prompt) :] for sequence, prompt in zip(sequences, prompts, strict=True)]
