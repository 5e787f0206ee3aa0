"""The first part of the training, without pictures: the words come to mean something to the language model.

It is told a scene in words whose vectors are trained, and asked about it. Its own weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
import torch.nn.functional as F
from conversation import NOT_TAUGHT, Conversation, make_conversation
from questions import questions
from scenes import KINDS, make_scene
from tokenizers import Tokenizer
from torch import Tensor
from transformers import LlavaForConditionalGeneration
from words import sentence

NOISE = 0.02  # standard deviation of what is added to the words, as the eyes will not say them exactly
QUESTIONS = 3  # of a scene, of those that it has
CAPTIONS = 0.4  # how often a caption may be one of them: it is as long as the other answers together


def speak(
    model: LlavaForConditionalGeneration,
    tokenizer: Tokenizer,
    vectors: Tensor,
    *,
    steps: int,
    size: int,
    rate: float,
    seed: int,
    report: Callable[[int, dict[str, float]], None],
) -> Tensor:
    """The trained vectors, [VOCABULARY, hidden], after `steps` batches of `size` scenes. The model may be bfloat16."""
    random = Random(f"speak {seed}")
    vectors = vectors.clone().requires_grad_()
    optimizer = torch.optim.Adam([vectors], betas=(0.9, 0.95))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / 10, 1.0) * max(0.1, 1 - step / steps)
        scenes = [make_scene(random, random.choice(KINDS)) for _ in range(size)]
        rows = []
        for scene in scenes:
            asked = questions(scene, random.randrange(60))
            if random.random() > CAPTIONS:
                asked = [question for question in asked if question.topic != "caption"]
            rows.append(make_conversation(tokenizer, random.sample(asked, min(len(asked), QUESTIONS))))
        told = vectors[torch.tensor([sentence(scene) for scene in scenes])]
        told = told + NOISE * torch.randn(told.shape)
        loss, right = answers(model, [row for row, _ in rows], told, rows[0][1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        report(step, {"loss": loss.item(), "right": right})
    return vectors.detach()


def answers(
    model: LlavaForConditionalGeneration, rows: list[Conversation], told: Tensor, begin: int
) -> tuple[Tensor, float]:
    """The loss, and the share of the answers' tokens that the model finds the likeliest.

    told: [rows, SENTENCE, hidden], to stand in each row from `begin` on.
    """
    language = model.model.language_model
    length = max(len(row.ids) for row in rows)

    def padded(lists: list[list[int]], value: int) -> Tensor:
        return torch.tensor([values + [value] * (length - len(values)) for values in lists])

    groups = padded([row.groups for row in rows], -1)
    order = torch.arange(length)
    seen = (groups[:, :, None] == groups[:, None]) | (groups[:, None] == 0)
    seen &= order[:, None] >= order
    mask = torch.zeros(seen.shape, dtype=language.dtype).masked_fill_(~seen, torch.finfo(language.dtype).min)
    embedded = language.embed_tokens(padded([row.ids for row in rows], 0))
    embedded = torch.cat((embedded[:, :begin], told.to(language.dtype), embedded[:, begin + told.shape[1] :]), dim=1)
    positions = padded([row.positions for row in rows], 0)
    hidden = language(inputs_embeds=embedded, attention_mask=mask[:, None], position_ids=positions, use_cache=False)[0]

    targets = padded([row.targets for row in rows], NOT_TAUGHT)
    taught = targets != NOT_TAUGHT
    logits, targets = model.lm_head(hidden[taught]).float(), targets[taught]
    return F.cross_entropy(logits, targets), (logits.argmax(-1) == targets).float().mean().item()
