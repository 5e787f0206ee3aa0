"""The model that is served: where it lies and what it is called."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from lightllm_rs.checkpoint import CheckpointError, locate
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.errors import ServiceError


class Model(msgspec.Struct, frozen=True):
    """Attributes:
    path: a folder or a GGUF file.
    name: in the API.
    chats: whether it is known to have a chat template (a GGUF file is not opened to find out).
    sees: whether it takes images.
    """

    path: Path
    name: str
    chats: bool
    sees: bool = False


def find_model(settings: ServeSettings) -> Model:
    """Finds the model, and fetches it if need be. Raises ServiceError."""
    try:
        checkpoint = locate(settings.model, settings.revision, settings.load_format)
        sees = False
        if settings.backend != "mock" and not checkpoint.is_gguf:
            # Cheap, and what cannot be served is known before anything starts.
            sees = checkpoint.config().vision is not None
    except CheckpointError as error:
        raise ServiceError(str(error)) from None
    chats = settings.model is None or settings.chat_template is not None or has_chat_template(checkpoint.path)
    return Model(checkpoint.path, settings.served_model_name or checkpoint.name, chats, sees)


def has_chat_template(folder: Path) -> bool:
    """Whether a Hugging Face folder has a chat template."""
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return "chat_template" in json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False  # what is wrong with it is the HTTP process's to say
