"""The line about the service that the log gets every few seconds."""

from __future__ import annotations

from dataclasses import dataclass

from lightllm_rs.metric.store import Store

PROMPT, GENERATED = "vllm:prompt_tokens_total", "vllm:generation_tokens_total"
QUERIES, HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV_USAGE = "vllm:kv_cache_usage_perc"
IMAGES, IMAGE_HITS, IMAGE_JOINS = (f"lightllm_mm_cache_{name}_total" for name in ("queries", "hits", "joins"))
IMAGE_BYTES, IMAGE_ROOM = "lightllm_mm_cache_used_bytes", "lightllm_mm_cache_total_bytes"
VISUAL_QUEUE, IMAGE_WAIT = "lightllm_mm_cache_queue", "lightllm_image_wait_seconds"
TTFT, ITL = "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"


@dataclass(frozen=True)
class _Look:
    """What the sums were at some time."""

    at: float
    prompt: float
    generated: float
    queries: float
    hits: float
    ttft: tuple[int, float]
    itl: tuple[int, float]
    images: float
    image_hits: float
    image_wait: tuple[int, float]


class StatsLine:
    """Rates and means over the time from one line to the next.

    Args:
        store: the figures of all processes.
        now: time of the first look, in seconds, on the clock of `store.take`.
    """

    def __init__(self, store: Store, now: float) -> None:
        self._store = store
        self._last = self._look(now)
        self._idle = True

    def line(self, now: float) -> str | None:
        """What there is to say: figures while there is work, one line when it has ended, and then nothing."""
        store, before, after = self._store, self._last, self._look(now)
        self._last = after
        running, waiting = store.value(RUNNING, now), store.value(WAITING, now)
        same = (after.prompt, after.generated, after.images) == (before.prompt, before.generated, before.images)
        idle = running == waiting == store.value(VISUAL_QUEUE, now) == 0 and same
        was_idle, self._idle = self._idle, idle
        if idle:
            return None if was_idle else "idle: no request runs or waits"
        seconds = max(after.at - before.at, 1e-9)
        queries = after.queries - before.queries
        parts = [
            f"prompt {(after.prompt - before.prompt) / seconds:,.0f} tok/s",
            f"generation {(after.generated - before.generated) / seconds:,.0f} tok/s",
            f"running {running:.0f}",
            f"waiting {waiting:.0f}",
            f"KV cache {100 * store.value(KV_USAGE, now):.1f} %",
            f"prefix hits {100 * (after.hits - before.hits) / queries:.1f} %" if queries > 0 else "prefix hits -",
            f"TTFT {_mean_ms(before.ttft, after.ttft)}",
            f"ITL {_mean_ms(before.itl, after.itl)}",
        ]
        return ", ".join(parts + self._images(before, after, seconds))

    def _images(self, before: _Look, after: _Look, seconds: float) -> list[str]:
        """What there is to say of images: nothing while nobody sends any."""
        store, images, queue = self._store, after.images - before.images, self._store.value(VISUAL_QUEUE, after.at)
        if not images and not queue:
            return []
        hits = f"{100 * (after.image_hits - before.image_hits) / images:.1f} %" if images else "-"
        used = store.value(IMAGE_BYTES, after.at) / max(store.value(IMAGE_ROOM, after.at), 1.0)
        return [
            f"images {images / seconds:.1f}/s",
            f"image hits {hits}",
            f"image cache {100 * used:.1f} %",
            f"visual queue {queue:.0f}",
            f"image wait {_mean_ms(before.image_wait, after.image_wait)}",
        ]

    def _look(self, now: float) -> _Look:
        store = self._store
        return _Look(
            at=now,
            prompt=store.value(PROMPT, now),
            generated=store.value(GENERATED, now),
            queries=store.value(QUERIES, now),
            hits=store.value(HITS, now),
            ttft=store.observed(TTFT),
            itl=store.observed(ITL),
            images=store.value(IMAGES, now),
            image_hits=store.value(IMAGE_HITS, now) + store.value(IMAGE_JOINS, now),
            image_wait=store.observed(IMAGE_WAIT),
        )


def _mean_ms(before: tuple[int, float], after: tuple[int, float]) -> str:
    """Mean of the values between two looks; "-" where there are none."""
    count = after[0] - before[0]
    return f"{1e3 * (after[1] - before[1]) / count:.1f} ms" if count > 0 else "-"
