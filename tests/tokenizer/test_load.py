"""Finding tokenizer and chat template in model folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.tiny_models import make_tiny_model, tiny_tokenizer, write_json
from lightllm_rs.tokenizer import TokenizerError, load_tokenizer

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


def rendered(folder: Path, chat_template: Path | None = None) -> str:
    template = load_tokenizer(folder, chat_template=chat_template).chat_template
    assert template is not None
    return template.render(HI)


def test_folder(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("Hi there") == tiny_tokenizer().encode("Hi there").ids
    assert rendered(folder) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_where_the_template_comes_from(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(
        folder / "tokenizer_config.json",
        {
            **config,
            "bos_token": {"content": "<B>", "lstrip": False},
            "chat_template": [
                {"name": "tool_use", "template": "no"},
                {"name": "default", "template": "default {{ bos_token }}"},
            ],
        },
    )
    assert rendered(folder) == "default <B>"
    write_json(folder / "chat_template.json", {"chat_template": "processor's"})
    assert rendered(folder) == "processor's"
    (folder / "chat_template.jinja").write_text("file")
    assert rendered(folder) == "file"
    mine = tmp_path / "mine.jinja"
    mine.write_text("operator's")
    assert rendered(folder, mine) == "operator's"


def test_a_model_without_a_template(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    assert load_tokenizer(folder).chat_template is None


def test_a_tokenizer_in_place_of_the_models_own(folder: Path, tmp_path: Path) -> None:
    assert load_tokenizer(tmp_path, tokenizer=folder / "tokenizer.json").vocab == load_tokenizer(folder).vocab


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("tokenizer.json", None, "missing"),
        ("tokenizer.json", "{", "no tokenizer"),
        ("tokenizer_config.json", "{", "cannot be read"),
        ("tokenizer_config.json", "[]", "object"),
        ("chat_template.jinja", "{% if %}", "chat template"),
        ("chat_template.jinja", "x" * (2 << 20), "longer"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, file: str, text: str | None, says: str) -> None:
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(TokenizerError, match=says) as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)


def test_truncation_and_padding_of_the_file_do_not_hold(folder: Path) -> None:
    built = tiny_tokenizer().from_str(tiny_tokenizer().to_str())
    built.enable_truncation(3)
    built.enable_padding(length=20)
    built.save(str(folder / "tokenizer.json"))
    text = "The quick brown fox jumps over the lazy dog."
    assert load_tokenizer(folder).encode(text) == tiny_tokenizer().encode(text).ids


def test_no_torch_and_no_transformers() -> None:
    code = (
        "import sys, lightllm_rs.tokenizer, lightllm_rs.http.main;"
        "print(*(sys.modules.keys() & {'torch', 'transformers', 'triton'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
