"""Where the pictures of a request are, in the order in which its prompt names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightllm_rs.media.errors import MediaError
from lightllm_rs.media.inline import data_of_url
from lightllm_rs.media.local_files import path_of_url

Detail = Literal["auto", "low", "high"]


@dataclass(frozen=True)
class Source:
    """One picture that is not here yet.

    Attributes:
        param: the part of the request that names it.
        kind: inline (`text` is base64), remote (a URL) or local (a path).
        detail: how closely the model should look at it.
    """

    param: str
    kind: Literal["inline", "remote", "local"]
    text: str
    detail: Detail = "auto"


def source_of_url(param: str, url: str, detail: Detail = "auto") -> Source:
    """The source behind a URL of any kind. Raises MediaError for kinds that there are not."""
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        return Source(param, "inline", data_of_url(url), detail)
    if scheme.startswith("file:"):
        return Source(param, "local", path_of_url(url), detail)
    if scheme.startswith(("http:", "https:")):
        return Source(param, "remote", url, detail)
    raise MediaError("the URL must begin with http://, https:// or data:", "invalid_image_url")


def source_of_base64(param: str, text: str) -> Source:
    """The source that base64 is, with or without the head of a data: URL."""
    return source_of_url(param, text) if text[:5].lower() == "data:" else Source(param, "inline", text)
