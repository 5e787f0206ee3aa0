"""How many tokens the KV cache gets, and the sum that says so."""

from __future__ import annotations

from dataclasses import dataclass

from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.options import BackendOptions

CPU_CONTEXTS = 16
"""A CPU's cache holds so many requests of full length, or fewer in CPU_SHARE of the free memory, but at least one."""

CPU_SHARE = 0.25


@dataclass(frozen=True)
class Room:
    """Memory of the device in bytes, once the weights are there.

    Attributes:
        free: what can be allocated now.
        total: of the device.
        working: the most that a step needs beside the cache.
        weights: of this model; they are not free any more.
        graphs: what captured steps will hold.
        visual: of what is in use, what visual servers have taken.
        features: what the last pictures' features will hold.
    """

    free: int
    total: int
    working: int
    weights: int = 0
    graphs: int = 0
    visual: int = 0
    features: int = 0

    def sum(self, cache: int) -> str:
        """All of a GPU's memory in one line, with `cache` bytes of KV cache."""
        others = self.total - self.free - self.weights - self.visual
        kept = self.free - self.working - self.graphs - self.features - cache
        parts = (
            (self.weights, "weights"),
            *(((self.visual, "visual servers"),) if self.visual else ()),
            (others, "context and other processes"),
            (self.working, "a step"),
            (self.graphs, "graphs"),
            *(((self.features, "last pictures"),) if self.features else ()),
            (cache, "KV cache"),
            (kept, "kept free"),
        )
        return f"{gib(self.total)} = " + " + ".join(f"{size / (1 << 30):.2f} {name}" for size, name in parts)


def cache_pages(options: BackendOptions, room: Room, page_bytes: int, page_size: int, context: int) -> tuple[int, str]:
    """(pages, the sum in one line). Raises BackendError if not even one request of full length fits."""
    if options.device == "cuda":
        used = room.total - room.free
        steps = room.working + room.graphs
        budget = int(room.total * options.mem_fraction) - used - steps - room.features
        in_use = f"{gib(used)} in use" + (f", {gib(room.visual)} of it for images" if room.visual else "")
        total = f"{gib(room.total)} x {options.mem_fraction:g} - {in_use} - {gib(steps)} for steps"
        if room.features:
            total += f" - {gib(room.features)} for pictures"
    else:
        budget = room.free - room.working
        total = f"{gib(room.free)} free - {gib(room.working)} for a step"
        if not options.kv_cache_tokens:
            one = pages_for(context, page_size) * page_bytes
            budget = min(budget, max(one, min(int(budget * CPU_SHARE), CPU_CONTEXTS * one)))
    fitting = max(0, budget) // page_bytes
    needed = pages_for(options.kv_cache_tokens or context, page_size)
    if fitting < needed or needed < pages_for(context, page_size):
        raise BackendError(does_not_fit(options, fitting * page_size, context, total, page_bytes // page_size))
    pages = needed if options.kv_cache_tokens else fitting
    if options.device == "cuda":
        return pages, f"{pages * page_size} tokens; {room.sum(pages * page_bytes)}"
    return pages, f"{pages * page_size} tokens, {gib(pages * page_bytes)} ({total})"


def does_not_fit(options: BackendOptions, tokens: int, context: int, total: str, token_bytes: int) -> str:
    """What to do when the cache is too small."""
    room = f"there is room for {tokens} ({total}; {token_bytes} bytes a token)"
    if options.kv_cache_tokens and options.kv_cache_tokens < context:
        return (
            f"a KV cache of {options.kv_cache_tokens} tokens does not hold one request of {context}: "
            "raise --kv-cache-tokens or lower --max-model-len"
        )
    if options.kv_cache_tokens:
        return f"a KV cache of {options.kv_cache_tokens} tokens does not fit, {room}: lower --kv-cache-tokens"
    raise_it = " or raise --mem-fraction" if options.device == "cuda" else ""
    return f"a request of {context} tokens does not fit the KV cache, {room}: lower --max-model-len{raise_it}"


def pages_for(tokens: int, page_size: int) -> int:
    """Pages that hold so many tokens."""
    return -(-tokens // page_size)


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / (1 << 30):.2f} GiB"
