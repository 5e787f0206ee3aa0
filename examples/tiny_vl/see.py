"""The second part of the training, without the language model: the tower and the projector say what they see.

Token i of a picture is to be near word i of the scene's sentence, and nearer to it than to any other word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random

import torch
import torch.nn.functional as F
from model import features, pixels
from pictures import draw
from scenes import KINDS, make_scene
from torch import Tensor
from transformers import LlavaForConditionalGeneration
from words import sentence

NEARNESS = 0.2  # weight of the distance to the word, beside the choice among words


def see(
    model: LlavaForConditionalGeneration,
    vectors: Tensor,
    *,
    steps: int,
    size: int,
    rate: float,
    seed: int,
    report: Callable[[int, dict[str, float]], None],
) -> None:
    """Trains what is not frozen in `model`, for `steps` batches of `size` pictures. vectors: [VOCABULARY, hidden]"""
    eyes = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(eyes, betas=(0.9, 0.98), weight_decay=0.02)
    softness = squares(vectors, vectors).fill_diagonal_(torch.inf).amin(0).mean() / 8
    for step, (values, words) in zip(range(steps), batches(seed, size), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate * slope(step, steps)
        said = features(model, values)
        apart = squares(said.flatten(0, 1), vectors)
        choice = F.cross_entropy(-apart / softness, words.flatten())
        distance = (said - vectors[words]).square().sum(-1).mean()
        loss = choice + NEARNESS * distance
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(eyes, 1.0)
        optimizer.step()
        right = (apart.argmin(-1).view_as(words) == words).float()
        report(step, {"loss": loss.item(), "words": right.mean().item(), "sentences": right.amin(-1).mean().item()})


def batches(seed: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(pixels, sentences [size, SENTENCE]) of new pictures, without an end."""
    random = Random(f"see {seed}")
    while True:
        scenes = [make_scene(random, random.choice(KINDS)) for _ in range(size)]
        yield pixels([draw(scene) for scene in scenes]), torch.tensor([sentence(scene) for scene in scenes])


def squares(a: Tensor, b: Tensor) -> Tensor:
    """[A, width], [B, width] -> squared distances [A, B]."""
    return a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.T


def slope(step: int, steps: int) -> float:
    """Up in the first twentieth of the steps, then down along a cosine."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / (steps - warm))
