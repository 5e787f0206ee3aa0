"""Download of a model from the Hugging Face hub: weights, configs and tokenizer files, never code."""

from __future__ import annotations

from pathlib import Path

from .errors import CheckpointError

ALLOWED = ["*.safetensors", "*.gguf", "*.json", "*.jinja", "*.txt", "tokenizer.model"]


def download(repository: str, revision: str | None) -> Path:
    """The local snapshot of `repository`, from the hub's cache where it is complete.

    Raises `CheckpointError` in one line without a network, without permission, or if there is no such repository.
    """
    from huggingface_hub import snapshot_download  # slow to import, and only hub ids need it
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=ALLOWED))
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{repository} is neither a local path nor a hub repository that you may read (is HF_TOKEN set?)"
        ) from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"{repository} is not a local path, and the hub cannot be reached: "
            "check the network, or pass a local model folder"
        ) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{repository} cannot be downloaded from the hub: {reason}") from None
