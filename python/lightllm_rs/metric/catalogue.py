"""Every metric there is: the one list that senders, the metric server and the docs go by."""

from __future__ import annotations

from typing import Literal

import msgspec

OWN_PREFIX = "lightllm_"

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
_STAGES = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1)
_COUNTS = tuple(float(1 << power) for power in range(11))
_PIXELS = tuple(float(1 << power) for power in range(10, 28))
_TOKENS = tuple(float(1 << power) for power in range(21))


class Metric(msgspec.Struct, frozen=True):
    """One declared metric.

    Attributes:
        name: what senders write in `Sample.name`.
        owner: package of the process that sends it; "metric" makes some itself, and "any" is sent by several.
        buckets: upper bounds of a histogram, without infinity.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    owner: Literal["http", "router", "cache", "visual", "supervisor", "metric", "any"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    @property
    def page_name(self) -> str:
        """Its name on the page: LightLLM's metrics carry LightLLM's prefix, counters end in `_total`."""
        name = self.name if self.name.startswith(("vllm:", OWN_PREFIX)) else OWN_PREFIX + self.name
        return name if self.kind != "counter" or name.endswith("_total") else name + "_total"


CATALOGUE: tuple[Metric, ...] = (
    # What vLLM's dashboards and autoscalers read.
    Metric("vllm:num_requests_running", "gauge", "router", "Requests that hold a slot."),
    Metric("vllm:num_requests_waiting", "gauge", "router", "Requests in the queue."),
    Metric("vllm:kv_cache_usage_perc", "gauge", "router", "Part of the KV cache in use by running requests, 0 to 1."),
    Metric("vllm:prefix_cache_queries_total", "counter", "router", "Prompt tokens looked up in the prefix cache."),
    Metric("vllm:prefix_cache_hits_total", "counter", "router", "Prompt tokens found in the prefix cache."),
    Metric("vllm:prompt_tokens_total", "counter", "router", "Prompt tokens of admitted requests."),
    Metric("vllm:generation_tokens_total", "counter", "router", "Tokens generated."),
    Metric("vllm:request_success_total", "counter", "http", "Requests that ended well.", ("finished_reason",)),
    Metric("vllm:time_to_first_token_seconds", "histogram", "http", "Arrival to first token.", (), _SECONDS),
    Metric("vllm:inter_token_latency_seconds", "histogram", "http", "Time between tokens.", (), _SECONDS),
    Metric("vllm:e2e_request_latency_seconds", "histogram", "http", "Arrival to end.", (), _SECONDS),
    Metric("vllm:request_queue_time_seconds", "histogram", "router", "Time in the queue.", (), _SECONDS),
    # LightLLM's own.
    Metric("request_count", "counter", "http", "Requests that arrived."),
    Metric("request_success", "counter", "http", "Requests that ended well."),
    Metric("request_failure", "counter", "http", "Requests that were refused or failed."),
    Metric("request_duration", "histogram", "http", "Arrival to end (s).", (), _SECONDS),
    Metric("request_validation_duration", "histogram", "http", "Checks and tokenising (s).", (), _SECONDS),
    Metric("request_queue_duration", "histogram", "router", "Time in the queue (s).", (), _SECONDS),
    Metric("request_inference_duration", "histogram", "http", "Sent to the router, to its end (s).", (), _SECONDS),
    Metric("request_first_token_duration", "histogram", "http", "Arrival to first token (s).", (), _SECONDS),
    Metric(
        "request_mean_time_per_token_duration",
        "histogram",
        "http",
        "Mean time of a token, a request (s).",
        (),
        _SECONDS,
    ),
    Metric("request_input_length", "histogram", "http", "Prompt tokens.", (), _TOKENS),
    Metric("request_generated_tokens", "histogram", "http", "Tokens generated.", (), _TOKENS),
    Metric("request_max_new_tokens", "histogram", "http", "Tokens that the request allowed.", (), _TOKENS),
    Metric("queue_size", "gauge", "router", "Requests in the queue."),
    Metric("batch_current_size", "gauge", "router", "Requests that hold a slot."),
    Metric("batch_pause_size", "gauge", "router", "Preempted requests that wait."),
    Metric("batch_current_max_tokens", "gauge", "router", "Tokens of the KV cache that running requests hold."),
    Metric("batch_next_size", "gauge", "router", "Requests that the latest admitting step took in."),
    Metric("batch_inference_count", "counter", "router", "Steps."),
    Metric("batch_inference_duration", "histogram", "router", "Time of one step in the backend (s).", (), _SECONDS),
    Metric("cache_length", "gauge", "router", "Tokens in the prefix cache."),
    Metric("cache_ratio", "gauge", "router", "Part of the KV cache that holds prefixes for reuse."),
    Metric("cache_hit_rate", "gauge", "router", "Part of all prompt tokens found in the prefix cache."),
    Metric("gen_throughput", "gauge", "router", "Tokens generated in the last second."),
    Metric("num_running_reqs", "gauge", "router", "Requests that hold a slot."),
    Metric("prompt_tokens_total", "counter", "router", "Prompt tokens of admitted requests."),
    Metric("generation_tokens_total", "counter", "router", "Tokens generated."),
    # The control plane itself.
    Metric("lightllm_pages_free", "gauge", "router", "Pages of the KV cache that nobody holds."),
    Metric("lightllm_pages_total", "gauge", "router", "Pages of the KV cache."),
    Metric("lightllm_pages_running", "gauge", "router", "Pages that running requests hold or lock."),
    Metric("lightllm_preemptions_total", "counter", "router", "Requests put back because pages ran out."),
    Metric(
        "lightllm_scheduler_seconds", "histogram", "router", "Time in a stage of the scheduler.", ("stage",), _STAGES
    ),
    Metric("lightllm_bypasses_total", "counter", "router", "Admissions past a request that did not fit."),
    Metric("lightllm_deferrals_total", "counter", "router", "Requests that waited to share another's prefill."),
    Metric("lightllm_forks_total", "counter", "router", "Choices that began with a prompt computed for another."),
    Metric("lightllm_page_copies_total", "counter", "router", "Pages copied for such choices."),
    Metric("lightllm_requests_awaiting_images", "gauge", "router", "Requests that only wait for an image."),
    Metric("lightllm_prefills_ahead_total", "counter", "router", "Times text before a missing image was computed."),
    Metric(
        "lightllm_image_stall_seconds",
        "histogram",
        "router",
        "Time in which a request with images could only wait for one.",
        (),
        _SECONDS,
    ),
    Metric("lightllm_planned_tokens_total", "counter", "router", "Tokens in steps: prefill and decode."),
    Metric("lightllm_budget_tokens_total", "counter", "router", "Tokens that those steps had room for."),
    Metric(
        "lightllm_journal_errors_total", "counter", "router", "Journals that ended since they could not be written."
    ),
    # Images.
    Metric("lightllm_image_fetch_seconds", "histogram", "http", "Time to get all images of a request.", (), _SECONDS),
    Metric(
        "lightllm_image_wait_seconds",
        "histogram",
        "http",
        "Time of a request from asking the image cache until its last image was ready.",
        (),
        _SECONDS,
    ),
    Metric("lightllm_image_resends_total", "counter", "http", "Requests sent again since their images were lost."),
    Metric("lightllm_mm_cache_queries_total", "counter", "cache", "Images looked up in the image cache."),
    Metric("lightllm_mm_cache_hits_total", "counter", "cache", "Images that were ready there."),
    Metric("lightllm_mm_cache_joins_total", "counter", "cache", "Images that somebody else had just sent."),
    Metric("lightllm_mm_cache_encoded_total", "counter", "cache", "Images whose features came."),
    Metric("lightllm_mm_cache_failures_total", "counter", "cache", "Images that could not be encoded."),
    Metric(
        "lightllm_mm_cache_abandoned_total",
        "counter",
        "cache",
        "Images given up before they were encoded, since nobody waited for them any more.",
    ),
    Metric("lightllm_mm_cache_evictions_total", "counter", "cache", "Images given up for others."),
    Metric("lightllm_mm_cache_waits_total", "counter", "cache", "Requests that had to wait for room."),
    Metric("lightllm_mm_cache_client_deaths_total", "counter", "cache", "Users of the image cache that died."),
    Metric("lightllm_mm_cache_total_bytes", "gauge", "cache", "Bytes of the image cache."),
    Metric("lightllm_mm_cache_used_bytes", "gauge", "cache", "Bytes of the image cache in use."),
    Metric("lightllm_mm_cache_idle_bytes", "gauge", "cache", "Bytes of images that nobody holds."),
    Metric("lightllm_mm_cache_items", "gauge", "cache", "Images in the image cache."),
    Metric("lightllm_mm_cache_leases", "gauge", "cache", "Holds on images in the image cache."),
    Metric("lightllm_mm_cache_waiters", "gauge", "cache", "Requests that wait for room in the image cache."),
    Metric("lightllm_mm_cache_queue", "gauge", "cache", "Images that wait for a visual server."),
    Metric("lightllm_visual_images_total", "counter", "visual", "Images encoded."),
    Metric("lightllm_visual_failures_total", "counter", "visual", "Images that a visual server refused."),
    Metric("lightllm_visual_batch_images", "histogram", "visual", "Images of a batch.", (), _COUNTS),
    Metric("lightllm_visual_batch_pixels", "histogram", "visual", "Pixels of a batch, as resized.", (), _PIXELS),
    Metric(
        "lightllm_visual_seconds",
        "histogram",
        "visual",
        "Time to decode an image, and to encode a batch.",
        ("stage",),
        _SECONDS,
    ),
    Metric("lightllm_rejections_total", "counter", "any", "Requests refused.", ("reason",)),
    Metric("lightllm_bad_frames_total", "counter", "any", "Frames that did not decode and were dropped.", ("process",)),
    Metric("lightllm_disconnects_total", "counter", "http", "Clients that left before their answer was complete."),
    Metric("lightllm_ignored_fields_total", "counter", "http", "Unknown fields in requests."),
    Metric("lightllm_process_cpu_seconds_total", "counter", "metric", "CPU time of a process.", ("process",)),
    Metric("lightllm_startup_seconds", "gauge", "supervisor", "Time of a part of the start.", ("process", "phase")),
    Metric(
        "lightllm_images_available",
        "gauge",
        "supervisor",
        "1 if images can be encoded, 0 while processes of images die again and again; of a model that takes images.",
    ),
    Metric("lightllm_process_restarts_total", "counter", "supervisor", "Processes started again.", ("process",)),
)

BY_NAME: dict[str, Metric] = {metric.name: metric for metric in CATALOGUE}
