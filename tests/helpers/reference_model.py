"""`transformers` as the yardstick of model tests."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


def reference_logits(folder: Path, texts: list[list[int]]) -> list[Tensor]:
    """float32 logits [tokens, vocab] of each text, each in a pass of its own."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        return [model(torch.tensor([text])).logits[0] for text in texts]
