"""Finding a model's tokenizer and chat template on the local disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lightllm_rs.checkpoint import CheckpointError
from lightllm_rs.checkpoint.gguf_file import read_gguf
from lightllm_rs.tokenizer.chat_template import ChatTemplate
from lightllm_rs.tokenizer.errors import TokenizerError
from lightllm_rs.tokenizer.gguf import from_gguf
from lightllm_rs.tokenizer.text_tokenizer import TextTokenizer

MAX_TEMPLATE_BYTES = 1 << 20


def load_tokenizer(model: Path, tokenizer: Path | None = None, chat_template: Path | None = None) -> TextTokenizer:
    """The tokenizer of `model`, a Hugging Face folder or a GGUF file.

    Args:
        tokenizer: a folder, a tokenizer.json or a GGUF file to use in place of the model's own.
        chat_template: a file to use in place of the model's own.

    Raises TokenizerError.
    """
    path = tokenizer or model
    if path.suffix == ".gguf":
        built, config = _of_gguf(path)
    else:
        built, config = _of_folder(path)
    built.no_truncation()
    built.no_padding()
    tokens = {name: _token(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    source = _template_text(chat_template) if chat_template is not None else _named(config.get("chat_template"))
    template = ChatTemplate(source, {k: v or "" for k, v in tokens.items()}) if source is not None else None
    return TextTokenizer(built, tokens["bos_token"], template)


def _of_gguf(path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    try:
        metadata = read_gguf(path).metadata
    except CheckpointError as error:
        raise TokenizerError(str(error)) from None
    built = from_gguf(metadata)
    config: dict[str, Any] = {"chat_template": metadata.get("tokenizer.chat_template")}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")):
        number = metadata.get(f"tokenizer.ggml.{key}_token_id")
        config[f"{name}_token"] = built.id_to_token(int(number)) if number is not None else None
    return built, config


def _of_folder(path: Path) -> tuple[Tokenizer, dict[str, Any]]:
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise TokenizerError(
            f"{file} is missing: pass --tokenizer with a folder that has a tokenizer.json "
            "(older formats must be converted with transformers first)"
        )
    try:
        built = Tokenizer.from_file(str(file))
    except Exception as error:  # the tokenizers package raises plain Exception
        raise TokenizerError(f"{file} is no tokenizer: {error}"[:500]) from None
    config = _json_object(file.parent / "tokenizer_config.json")
    older = _json_object(file.parent / "chat_template.json").get("chat_template")  # of models that see
    if older is not None:
        config["chat_template"] = older
    template = file.parent / "chat_template.jinja"
    if template.is_file():  # newer folders keep it here, and transformers prefers it
        config["chat_template"] = _template_text(template)
    return built, config


def _json_object(path: Path) -> dict[str, Any]:
    """A JSON file with an object in it; {} where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"{path} cannot be read: {error}"[:500]) from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{path} must hold a JSON object")
    return value


def _template_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEMPLATE_BYTES:
            raise TokenizerError(f"{path} is longer than {MAX_TEMPLATE_BYTES} bytes: it is no chat template")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TokenizerError(f"the chat template {path} cannot be read: {error}") from None


def _named(value: Any) -> str | None:
    """tokenizer_config.json has one template, or several with names."""
    if isinstance(value, list):
        value = next((t.get("template") for t in value if isinstance(t, Mapping) and t.get("name") == "default"), None)
    return value if isinstance(value, str) else None


def _token(value: Any) -> str | None:
    """tokenizer_config.json writes special tokens as strings or as objects."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None
