"""The settings of `lightllm-rs serve`. Field order is the order in the help and in the docs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


def _meta(help: str, *aliases: str, low: float | None = None, high: float | None = None, **extra: Any) -> msgspec.Meta:
    """Metadata of a field. `aliases` are further flags, without their dashes.

    Keys of `extra`: `flag` (first flag, where it is not the field's name), `group` (heading in the help and the docs),
    `secret` (never shown).
    """
    return msgspec.Meta(description=help, ge=low, le=high, extra={"aliases": aliases, **extra})


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the service; 0 means "choose for me" where the help says auto. Travels to every child as msgpack.

    A value that was built without the checks of `settings.checks.check` may be out of its bounds.
    """

    model: Annotated[
        str | None,
        _meta(
            "model folder, GGUF file or Hugging Face id; without it the demo model",
            "model-path",
            "model-dir",
            group="Model",
        ),
    ] = None
    tokenizer: Annotated[str | None, _meta("folder or tokenizer.json to use in place of the model's own")] = None
    chat_template: Annotated[str | None, _meta("file with a Jinja chat template in place of the model's own")] = None
    revision: Annotated[str | None, _meta("branch, tag or commit of a Hugging Face model")] = None
    served_model_name: Annotated[
        str | None, _meta("name in the API; without it the model as it was given", "model-name")
    ] = None
    load_format: Annotated[
        Literal["auto", "safetensors", "gguf", "dummy"],
        _meta("kind of weights; dummy makes random ones from config.json alone"),
    ] = "auto"
    trust_remote_code: Annotated[
        bool, _meta("accepted so that command lines carry over: no code of a model is ever run, with or without it")
    ] = False
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        _meta("arithmetic; auto is bfloat16 on a GPU and float32 on a CPU", "data-type"),
    ] = "auto"
    quantization: Annotated[
        Literal["auto", "fp8"],
        _meta("weights: auto leaves them as they are in the checkpoint; fp8 rounds the layers' matrices while loading"),
    ] = "auto"
    kv_cache_dtype: Annotated[
        Literal["auto", "fp8"],
        _meta(
            "keys and values: auto is the dtype of the arithmetic; fp8 holds twice the tokens, see docs/quantization.md"
        ),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda"], _meta("auto is cuda where there is an NVIDIA GPU")] = "auto"
    seed: Annotated[
        int, _meta("seed of random weights and of sampling without a seed of its own", low=0, high=2**63 - 1)
    ] = 0

    backend: Annotated[
        Literal["torch", "mock"],
        _meta("mock answers without a model, for tests and for measuring the rest of the stack", group="Backend"),
    ] = "torch"
    mock_step_ms: Annotated[float, _meta("time of one step of the mock backend", low=0, high=60_000)] = 0.0
    mock_prefill_us: Annotated[
        float, _meta("time of one prefill token of the mock backend, added to the step", low=0, high=1_000_000)
    ] = 0.0
    tp: Annotated[int, _meta("tensor parallel ranks", "tp-size", "tensor-parallel-size", low=1, high=64)] = 1
    mem_fraction: Annotated[
        float,
        _meta("part of the GPU's memory to use", "gpu-memory-utilization", "mem-fraction-static", low=0.01, high=1.0),
    ] = 0.9
    kv_cache_tokens: Annotated[int, _meta("tokens in the KV cache (0: auto)", low=0, high=2**31 - 1)] = 0
    page_size: Annotated[int, _meta("tokens of one page of the KV cache (0: auto)", low=0, high=256)] = 0
    max_model_len: Annotated[
        int,
        _meta(
            "most tokens of prompt and output together (0: what the model allows)",
            "context-length",
            "max-req-total-len",
            low=0,
            high=2**31 - 1,
        ),
    ] = 0
    max_num_seqs: Annotated[
        int,
        _meta(
            "most requests that run at once (0: auto)",
            "max-running-requests",
            "running-max-req-size",
            low=0,
            high=65_536,
        ),
    ] = 0
    enforce_eager: Annotated[bool, _meta("no CUDA graphs")] = False
    threads: Annotated[
        int, _meta("CPU threads of a backend (0: all cores), and of a visual server (0: half)", low=0, high=1024)
    ] = 0

    max_num_batched_tokens: Annotated[
        int,
        _meta("most tokens in one step (0: auto)", "batch-max-tokens", group="Scheduler", low=0, high=1 << 20),
    ] = 0
    chunked_prefill_size: Annotated[
        int, _meta("most prompt tokens of one request in one step (0: auto)", low=0, high=1 << 20)
    ] = 0
    max_step_ms: Annotated[
        float,
        _meta(
            "most milliseconds of a step with prompts while others decode, as far as the router can tell (0: no bound)",
            low=0,
            high=3_600_000,
        ),
    ] = 80.0
    plan_lead_ms: Annotated[
        float,
        _meta(
            "milliseconds before the end of a step at which the next one is planned, so that it has all that came by "
            "then (0: as early as possible)",
            low=0,
            high=1000,
        ),
    ] = 2.5
    balance_tokens: Annotated[
        int,
        _meta(
            "prompt tokens of one step while others decode, or if that is more, as many as come with their outputs "
            "generate (0: no such bound)",
            low=0,
            high=1 << 20,
        ),
    ] = 1024
    prefix_caching: Annotated[
        bool, _meta("keep the KV cache of finished requests for others", flag="enable-prefix-caching")
    ] = True
    max_queued_requests: Annotated[int, _meta("requests that may wait; more get 429", low=1, high=1_000_000)] = 1024
    max_queued_tokens: Annotated[int, _meta("prompt tokens that may wait; more get 429", low=1, high=2**40)] = 4_000_000
    schedule_mode: Annotated[
        Literal["chunked", "prefill-first", "decode-first"],
        _meta(
            "chunked: prompts are cut into chunks and decoding rides along; prefill-first: a step prefills if it can; "
            "decode-first: a step decodes if it can, see router-max-wait-tokens"
        ),
    ] = "chunked"
    router_max_wait_tokens: Annotated[
        int,
        _meta("decode-first: steps that only decode before waiting prompts get one", low=0, high=1_000_000),
    ] = 8
    admission_policy: Annotated[
        Literal["conservative", "aggressive", "ema", "past_future", "forecast"],
        _meta("who may run beside those that run, by the KV cache that their outputs may need; see docs/admission.md"),
    ] = "forecast"
    router_token_ratio: Annotated[
        Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] | None,
        _meta("ema: part of the KV cache in use from which on the server counts as busy"),
    ] = None
    admission_watermark: Annotated[
        Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] | None,
        _meta("aggressive: part of the KV cache that may be in use when a request is admitted"),
    ] = None
    past_future_window: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None,
        _meta("past_future: finished outputs whose lengths are remembered"),
    ] = None
    past_future_reserve: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=0.5)] | None,
        _meta("past_future: part of the KV cache that the expected peak leaves free"),
    ] = None
    admission_parameters: Annotated[
        tuple[str, ...], _meta("other settings of the admission policy, as name=number separated by commas")
    ] = ()
    priority_age_seconds: Annotated[
        float, _meta("seconds of waiting that count as one priority better", low=0.001, high=1_000_000)
    ] = 5.0
    tenant_quantum: Annotated[
        int, _meta("tokens that each tenant gets in one round of fair sharing", low=1, high=1 << 30)
    ] = 256
    ttft_target_ms: Annotated[
        float,
        _meta("time to first token that requests without deadline_ms should see (0: none)", low=0, high=86_400_000),
    ] = 0.0
    refuse_late: Annotated[bool, _meta("answer 429 to waiting requests that can no longer make their deadline")] = False
    bypass_limit: Annotated[
        int,
        _meta("requests that may overtake one that does not fit, before all behind it wait", low=0, high=1_000_000),
    ] = 64
    prefix_group_tokens: Annotated[
        int,
        _meta(
            "tokens of an uncached prefix that requests must share for one to wait for the other's KV cache (0: never)",
            low=0,
            high=1 << 30,
        ),
    ] = 256
    eviction_policy: Annotated[
        Literal["lru", "lfu", "cost-aware"],
        _meta("what the prefix cache gives up first: used least recently, least often, or cheapest to compute again"),
    ] = "lru"
    router_seed: Annotated[int, _meta("seed of what the scheduler draws", low=0, high=2**63 - 1)] = 0
    journal: Annotated[
        str | None,
        _meta(
            "file to write all scheduling into, for lightllm-rs replay and simulate; made anew at each start "
            "(FILE.1, FILE.2, ... when router and backends restart)"
        ),
    ] = None
    journal_tokens: Annotated[
        bool, _meta("the journal has the token ids of prompts and outputs, not only keyed hashes")
    ] = False
    debug_checks: Annotated[bool, _meta("check the scheduler's invariants after each call: slow")] = False

    visual_batch_size: Annotated[
        int, _meta("most images that are encoded at once", group="Images", low=1, high=4096)
    ] = 32
    visual_batch_pixels: Annotated[
        int,
        _meta(
            "pixels that are encoded at once, as the model sees them after resizing; a larger image goes alone "
            "(0: auto, 4 Mi on a GPU and 1 Mi on a CPU)",
            low=0,
            high=1 << 40,
        ),
    ] = 0
    visual_gpu: Annotated[
        int,
        _meta(
            "GPU of the first visual server, each further one has the next (-1: those of the backends)",
            low=-1,
            high=1023,
        ),
    ] = -1
    visual_dp: Annotated[int, _meta("visual servers", low=1, high=64)] = 1
    visual_threads: Annotated[
        int, _meta("threads of a visual server that decode and resize (0: auto)", low=0, high=256)
    ] = 0
    max_images: Annotated[int, _meta("most images of one prompt", low=0, high=10_000)] = 16
    max_image_bytes: Annotated[
        int, _meta("longest image, as it is stored; one in base64 must also fit into the body", low=1, high=1 << 30)
    ] = 20 << 20
    max_request_image_bytes: Annotated[
        int, _meta("longest of all images of one request together", low=1, high=1 << 32)
    ] = 64 << 20
    max_held_image_bytes: Annotated[
        int,
        _meta("longest of all images of the requests that run in one HTTP process; more get 503", low=1, high=1 << 40),
    ] = 1 << 30
    max_image_pixels: Annotated[int, _meta("most pixels of one image", low=1, high=89_000_000)] = 50_000_000
    image_fetch_timeout: Annotated[
        float, _meta("seconds in which an image on the web must be there, redirects included", low=0.1, high=3600)
    ] = 10.0
    image_redirects: Annotated[int, _meta("most redirects on the way to an image", low=0, high=20)] = 3
    image_fetches: Annotated[
        int, _meta("images that one HTTP process fetches at the same time; eight times as many wait", low=1, high=1024)
    ] = 16
    allowed_media_domains: Annotated[
        tuple[str, ...],
        _meta(
            "hosts that images may come from, separated by commas (example.org is that host alone, *.example.org all "
            "below it); without them every public host"
        ),
    ] = ()
    allowed_local_media_path: Annotated[
        str | None,
        _meta("folder whose files every caller may name as file:///path/image.png; without it no file may be named"),
    ] = None
    mm_cache_size: Annotated[
        float,
        _meta(
            "GiB of shared memory for images and their features, reserved at the start (0: auto, 4 or a quarter of "
            "/dev/shm, whichever is less)",
            low=0,
            high=1 << 14,
        ),
    ] = 0.0

    host: Annotated[str, _meta("address to listen on", group="HTTP")] = "127.0.0.1"
    port: Annotated[int, _meta("port to listen on (0: any free one)", low=0, high=65_535)] = 8000
    http_workers: Annotated[
        int, _meta("HTTP processes (0: auto, one for every four CPU cores, at most four)", low=0, high=64)
    ] = 0
    api_key: Annotated[
        str | None, _meta("key for every route but the health ones; prefer the environment variable", secret=True)
    ] = None
    admin_api_key: Annotated[
        str | None, _meta("key for control routes; prefer the environment variable", secret=True)
    ] = None
    allowed_origins: Annotated[tuple[str, ...], _meta("origins that browsers may call from, separated by commas")] = ()
    ssl_keyfile: Annotated[str | None, _meta("PEM file of the TLS key")] = None
    ssl_certfile: Annotated[str | None, _meta("PEM file of the TLS certificate")] = None
    max_body_bytes: Annotated[int, _meta("longest request body", low=1024, high=1 << 30)] = 16 << 20
    max_n: Annotated[int, _meta("most choices of one request", low=1, high=1024)] = 64
    max_stop_strings: Annotated[int, _meta("most stop strings of one request", low=0, high=1024)] = 16
    max_prompts: Annotated[int, _meta("most prompts of one request", low=1, high=65_536)] = 256
    max_logit_bias: Annotated[int, _meta("most entries of logit_bias", low=0, high=65_536)] = 300
    stream_stall_timeout: Annotated[
        float, _meta("seconds after which a reader that takes nothing is cut off", low=0.1, high=86_400)
    ] = 60.0
    keepalive_seconds: Annotated[
        float, _meta("seconds of silence in a stream before a comment is sent", low=0.1, high=86_400)
    ] = 15.0

    start_timeout: Annotated[
        float, _meta("seconds until every process must be ready", group="Service", low=1, high=86_400)
    ] = 600.0
    drain_timeout: Annotated[
        float, _meta("seconds that running requests have left after SIGTERM or Ctrl-C", low=0, high=86_400)
    ] = 30.0
    stall_seconds: Annotated[
        float, _meta("seconds of work without progress after which /health says so", low=1, high=86_400)
    ] = 60.0
    trace_dir: Annotated[
        str | None,
        _meta(
            "folder for a Chrome trace of some steps of each rank, rank-0.json and so on; "
            "lightllm-rs trace says what is in it"
        ),
    ] = None
    trace_steps: Annotated[
        str | None,
        _meta(
            "with trace-dir: which steps, as FIRST:END, counted from 0 (without it 200:400); a rank stands still while "
            "it writes them. For lightllm-rs profile: which steps of each kind (2:12)"
        ),
    ] = None
    log_stats: Annotated[
        bool,
        _meta(
            "a line of figures in the log while there is work (tokens a second, queue, KV cache, latencies), and one "
            "when it has ended; on, since it is the first thing to look at"
        ),
    ] = True
    log_stats_interval: Annotated[float, _meta("seconds between these lines", low=0.1, high=86_400)] = 10.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _meta("how much to log")] = "info"
