"""The folders that end to end tests serve: one picture in a chat, through template, tokenizer, geometry and tower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from helpers.tiny_vl import ALL_KINDS, image_text, make_tiny_vl
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import load_model
from lightllm_rs.models.vision import load_tower
from lightllm_rs.tokenizer import load_tokenizer
from lightllm_rs.vision import ImageInput, expand, open_geometry


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_chat_with_one_picture(tmp_path: Path, kind: str) -> None:
    checkpoint = locate(str(make_tiny_vl(tmp_path, kind)))
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    tokenizer = load_tokenizer(checkpoint.path)
    assert tokenizer.chat_template is not None
    content = [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "What is it?"}]
    text = tokenizer.chat_template.render([{"role": "user", "content": content}])
    assert f"Look: {image_text(kind)}What" in text
    ids = tokenizer.encode(text)
    assert ids.count(geometry.placeholder) == 1
    shape = geometry.shape(70, 40)
    expanded = expand(ids, [ImageInput(bytes(16), shape)], geometry)
    (span,) = expanded.spans
    assert tokenizer.decode(expanded.ids[: span.start - len(geometry.before)]).endswith(("Look: ", "<|vision_start|>"))
    assert len(expanded.ids) == len(ids) - 1 + shape.tokens + len(geometry.before) + len(geometry.after)
    tower = load_tower(checkpoint, geometry, dtype=torch.float32, device=torch.device("cpu"))
    with torch.inference_mode():
        (features,) = tower.encode([tower.pixels(Image.new("RGB", (70, 40), "red"))])
    assert features.shape == (shape.tokens, tower.width)
    model = load_model(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    assert tower.width % model.config.hidden == 0
