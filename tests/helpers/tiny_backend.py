"""Sizes of the torch backend with a tiny model of text."""

from __future__ import annotations

from lightllm_rs.backend.options import Capacity

CAPACITY = Capacity(pages=1024, page_size=4, slots=8, vocab=384, context=512)
OPTIONS = {"kv_cache_tokens": 4096, "page_size": 4, "slots": 8, "threads": 2}
