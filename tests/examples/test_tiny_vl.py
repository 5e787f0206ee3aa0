"""examples/tiny_vl: the trained eyes see, transformers computes the same, and the training trains.

A minute and a half on two free cores.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, cast

import httpx
import pytest
import torch
from PIL import Image

from helpers.model_runner import ModelRunner, Sequence
from helpers.seeing_model import SeeingModel
from helpers.seeing_service import image_part, noise, text_part
from lightllm_rs.checkpoint import locate
from lightllm_rs.models import CausalLM, load_model
from lightllm_rs.models.vision import load_tower
from lightllm_rs.tokenizer import load_tokenizer
from lightllm_rs.vision import ImageInput, expand, open_geometry
from server import Server, serving

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tiny_vl"
FLAGS = ("--device", "cpu", "--mm-cache-size", "0.03", "--kv-cache-tokens", "4096", "--max-model-len", "1024")
PATIENCE_SECONDS = 600
CPU = torch.device("cpu")
SIDES = {"left", "right", "top", "bottom"}
TOPICS = {"color", "shape", "size", "place", "background", "count", "digit", "caption", *SIDES}
pytestmark = pytest.mark.timeout(900)


def example(script: str, *arguments: str) -> str:
    """What a script of the example prints."""
    command = [sys.executable, str(EXAMPLE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model."""
    made = tmp_path_factory.mktemp("models") / "tiny-vl"
    example("assemble.py", str(made))
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serving(str(folder), *FLAGS) as running:
        yield running


def test_it_sees(server: Server) -> None:
    """Pictures that the training never had, in wordings that it had."""
    printed = example("evaluate.py", "--url", f"http://{server.host}:{server.port}/v1", "--pictures", "15")
    rows = re.findall(r"^\| (\w+) \| ([\d.]+) % of (\d+)", printed, re.M)
    known = {topic: (float(share), int(asked)) for topic, share, asked in rows}
    assert known.keys() == TOPICS, printed
    assert known["color"][0] >= 85, printed
    assert known["background"][0] >= 85, printed
    assert known["shape"][0] >= 60, printed
    del known["caption"]
    assert sum(share * asked for share, asked in known.values()) >= 85 * sum(asked for _, asked in known.values())


def test_a_picture_that_the_example_did_not_draw(server: Server) -> None:
    """A red circle on blue, larger than those that it knows."""
    x, y = torch.meshgrid(torch.arange(300), torch.arange(300), indexing="xy")
    inside = ((x - 150) ** 2 + (y - 150) ** 2 < 65**2).numpy()
    picture = Image.new("RGB", (300, 300), (40, 70, 215))
    picture.paste((215, 35, 35), mask=Image.fromarray(inside))
    assert said(server, picture, "What color is it?") == "The color is red."
    assert said(server, picture, "What color is the background?") == "The background is blue."
    assert said(server, picture, "What shape is it?") == "The shape is a circle."


def said(server: Server, picture: Image.Image, text: str) -> str:
    body = {
        "messages": [{"role": "user", "content": [image_part(picture), text_part(text)]}],
        "temperature": 0,
        "max_tokens": 24,
    }
    url = f"http://{server.host}:{server.port}/v1/chat/completions"
    answer = httpx.post(url, json=body, timeout=120).json()
    return str(answer["choices"][0]["message"]["content"])


def test_transformers_computes_the_same(folder: Path) -> None:
    """Tokens and pixels of a chat are those of its processor, and the logits those of its model."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    picture, text = noise(150, 90), "What do you see?"
    processor: Any = AutoProcessor.from_pretrained(folder)
    parts = [{"type": "image", "image": picture}, {"type": "text", "text": text}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": parts}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    checkpoint = locate(str(folder))
    geometry = open_geometry(checkpoint)
    assert geometry is not None
    tower = load_tower(checkpoint, geometry, dtype=torch.float32, device=CPU)
    pixels = tower.pixels(picture)
    torch.testing.assert_close(tower.normalise(pixels.values), inputs["pixel_values"], rtol=0, atol=2e-6)

    tokenizer = load_tokenizer(folder)
    assert tokenizer.chat_template is not None
    prompt = tokenizer.chat_template.render([{"role": "user", "content": [{"type": "image"}, text_part(text)]}])
    key = hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
    expanded = expand(tokenizer.encode(prompt), [ImageInput(key, pixels.shape)], geometry)
    ids = [min(token, geometry.placeholder) if token >= tokenizer.vocab else token for token in expanded.ids]
    assert ids == inputs["input_ids"][0].tolist()

    model = SeeingModel(load_model(checkpoint, dtype=torch.float32, device=CPU))
    with torch.inference_mode():
        model.show(expanded.spans, tower.encode([pixels]))
        reference = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        wanted = reference(**inputs).logits[0]
    runner = ModelRunner(cast(CausalLM, model), dtype=torch.float32, device="cpu")
    found = runner.step([], [(Sequence(expanded.ids), len(ids))], every=True)
    assert (found - wanted).abs().max().item() < 1e-3


def test_the_training_trains(tmp_path: Path) -> None:
    """A few steps of both parts lower the loss, and what they leave is served."""
    speak, see = ("--speak-steps", "20", "--speak-batch", "2"), ("--see-steps", "30", "--see-batch", "16")
    example("train.py", str(tmp_path), *speak, *see)
    for part, log in json.loads((tmp_path / "training.json").read_text()).items():
        losses = [step["loss"] for step in log]
        assert mean(losses[-5:]) < 0.8 * mean(losses[:3]), (part, losses)
    with serving(str(tmp_path), *FLAGS) as running:
        assert said(running, noise(64, 64), "What do you see?")
