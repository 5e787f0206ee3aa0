"""Pictures of requests, up to the point where they have bytes and a size: found, fetched under limits, inspected."""

from __future__ import annotations

from lightllm_rs.media.errors import MediaError, Overloaded
from lightllm_rs.media.fetcher import Fetcher
from lightllm_rs.media.formats import Picture, decode, inspect
from lightllm_rs.media.limits import Limits
from lightllm_rs.media.loader import Held, Loader
from lightllm_rs.media.sources import Detail, Source, source_of_base64, source_of_url

__all__ = [
    "Detail",
    "Fetcher",
    "Held",
    "Limits",
    "Loader",
    "MediaError",
    "Overloaded",
    "Picture",
    "Source",
    "decode",
    "inspect",
    "source_of_base64",
    "source_of_url",
]
