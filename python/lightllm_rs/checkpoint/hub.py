"""Download of a model from the Hugging Face hub: weights, configs and tokenizer files, never code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import CheckpointError

ALLOWED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model"]
# Subfolders hold other formats of the same weights (ONNX, the publisher's own).
IGNORED = ["*/*", "consolidated*.safetensors"]


def download(repository: str, revision: str | None) -> Path:
    """The local snapshot of `repository`, from the hub's cache where it is complete.

    A repository without safetensors may have one GGUF file, which is then fetched; several are too much to guess from.
    Raises `CheckpointError` in one line without a network, without permission, or if there is no such repository.
    """
    from huggingface_hub import list_repo_files, snapshot_download  # slow to import, and only hub ids need it

    with plain_errors(repository):
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=ALLOWED, ignore_patterns=IGNORED))
        if any(folder.glob("*.safetensors")):
            return folder
        if len(fetched := sorted(folder.glob("*.gguf"))) == 1:  # by an earlier start: no network is needed
            return fetched[0]
        files = [name for name in list_repo_files(repository, revision=revision) if name.endswith(".gguf")]
        if len(files) == 1:
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=files))
            return folder.joinpath(str(files[0]))
    if files:
        raise CheckpointError(
            f"{repository} holds {len(files)} GGUF files: download one of them ({files[0]}, ...) and pass its path"
        )
    return folder


@contextmanager
def plain_errors(repository: str) -> Iterator[None]:
    """The hub client's errors as one line each."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    # The base of all errors of the HTTP library that the installed hub client uses: httpx, httpx2 or requests.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{repository} is neither a local path nor a hub repository that you may read (is HF_TOKEN set?)"
        ) from None
    except LocalEntryNotFoundError:
        raise unreachable(repository) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{repository} cannot be downloaded from the hub: {reason}") from None
    except http_error:
        raise unreachable(repository) from None


def unreachable(repository: str) -> CheckpointError:
    """The error of a machine without a network."""
    return CheckpointError(
        f"{repository} is not a local path, and the hub cannot be reached: "
        "check the network, or pass a local model folder"
    )
