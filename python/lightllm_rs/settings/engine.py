"""Settings of the model, the backends and the scheduler."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from lightllm_rs.settings.metadata import meta


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The first part of `ServeSettings`: model, backend, scheduler."""

    model: Annotated[
        str | None,
        meta(
            "model folder, GGUF file or Hugging Face id; without it the demo model",
            "model-path",
            "model-dir",
            group="Model",
        ),
    ] = None
    tokenizer: Annotated[str | None, meta("folder or tokenizer.json to use in place of the model's own")] = None
    chat_template: Annotated[str | None, meta("file with a Jinja chat template in place of the model's own")] = None
    revision: Annotated[str | None, meta("branch, tag or commit of a Hugging Face model")] = None
    served_model_name: Annotated[
        str | None, meta("name in the API; without it the model as it was given", "model-name")
    ] = None
    load_format: Annotated[
        Literal["auto", "safetensors", "gguf", "dummy"],
        meta("kind of weights; dummy makes random ones from config.json alone"),
    ] = "auto"
    trust_remote_code: Annotated[
        bool, meta("accepted so that command lines carry over: no code of a model is ever run, with or without it")
    ] = False
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16", "fp32", "float", "bf16", "fp16", "half"],
        meta("arithmetic; auto is bfloat16 on a GPU and float32 on a CPU", "data-type"),
    ] = "auto"
    quantization: Annotated[
        Literal["auto", "fp8"],
        meta("weights: auto leaves them as they are in the checkpoint; fp8 rounds the layers' matrices while loading"),
    ] = "auto"
    kv_cache_dtype: Annotated[
        Literal["auto", "fp8"],
        meta(
            "keys and values: auto is the dtype of the arithmetic; fp8 holds twice the tokens, see docs/quantization.md"
        ),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda"], meta("auto is cuda where there is an NVIDIA GPU")] = "auto"
    seed: Annotated[
        int, meta("seed of random weights and of sampling without a seed of its own", low=0, high=2**63 - 1)
    ] = 0

    backend: Annotated[
        Literal["torch", "mock"],
        meta("mock answers without a model, for tests and for measuring the rest of the stack", group="Backend"),
    ] = "torch"
    mock_step_ms: Annotated[float, meta("time of one step of the mock backend", low=0, high=60_000)] = 0.0
    mock_prefill_us: Annotated[
        float, meta("time of one prefill token of the mock backend, added to the step", low=0, high=1_000_000)
    ] = 0.0
    tp: Annotated[int, meta("tensor parallel ranks", "tp-size", "tensor-parallel-size", low=1, high=64)] = 1
    mem_fraction: Annotated[
        float,
        meta("part of the GPU's memory to use", "gpu-memory-utilization", "mem-fraction-static", low=0.01, high=1.0),
    ] = 0.9
    kv_cache_tokens: Annotated[int, meta("tokens in the KV cache (0: auto)", low=0, high=2**31 - 1)] = 0
    page_size: Annotated[int, meta("tokens of one page of the KV cache (0: auto)", low=0, high=256)] = 0
    max_model_len: Annotated[
        int,
        meta(
            "most tokens of prompt and output together (0: what the model allows)",
            "context-length",
            "max-req-total-len",
            low=0,
            high=2**31 - 1,
        ),
    ] = 0
    max_num_seqs: Annotated[
        int,
        meta(
            "most requests that run at once (0: auto)",
            "max-running-requests",
            "running-max-req-size",
            low=0,
            high=65_536,
        ),
    ] = 0
    enforce_eager: Annotated[bool, meta("no CUDA graphs")] = False
    threads: Annotated[
        int, meta("CPU threads of a backend (0: all cores), and of a visual server (0: half)", low=0, high=1024)
    ] = 0

    max_num_batched_tokens: Annotated[
        int,
        meta("most tokens in one step (0: auto)", "batch-max-tokens", group="Scheduler", low=0, high=1 << 20),
    ] = 0
    chunked_prefill_size: Annotated[
        int, meta("most prompt tokens of one request in one step (0: auto)", low=0, high=1 << 20)
    ] = 0
    max_step_ms: Annotated[
        float,
        meta(
            "most milliseconds of a step with prompts while others decode, as far as the router can tell (0: no bound)",
            low=0,
            high=3_600_000,
        ),
    ] = 80.0
    plan_lead_ms: Annotated[
        float,
        meta(
            "milliseconds before the end of a step at which the next one is planned, so that it has all that came by "
            "then (0: as early as possible)",
            low=0,
            high=1000,
        ),
    ] = 2.5
    balance_tokens: Annotated[
        int,
        meta(
            "prompt tokens of one step while others decode, or if that is more, as many as come with the tokens that "
            "they generate or as a prompt has in the mean (0: no such bound)",
            low=0,
            high=1 << 20,
        ),
    ] = 512
    prefix_caching: Annotated[
        bool, meta("keep the KV cache of finished requests for others", flag="enable-prefix-caching")
    ] = True
    max_queued_requests: Annotated[int, meta("requests that may wait; more get 429", low=1, high=1_000_000)] = 1024
    max_queued_tokens: Annotated[int, meta("prompt tokens that may wait; more get 429", low=1, high=2**40)] = 4_000_000
    schedule_mode: Annotated[
        Literal["chunked", "prefill-first", "decode-first"],
        meta(
            "chunked: prompts are cut into chunks and decoding rides along; prefill-first: a step prefills if it can; "
            "decode-first: a step decodes if it can, see router-max-wait-tokens"
        ),
    ] = "chunked"
    router_max_wait_tokens: Annotated[
        int,
        meta("decode-first: steps that only decode before waiting prompts get one", low=0, high=1_000_000),
    ] = 8
    admission_policy: Annotated[
        Literal["conservative", "aggressive", "ema", "past_future", "forecast"],
        meta("who may run beside those that run, by the KV cache that their outputs may need; see docs/admission.md"),
    ] = "forecast"
    router_token_ratio: Annotated[
        Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] | None,
        meta("ema: part of the KV cache in use from which on the server counts as busy"),
    ] = None
    admission_watermark: Annotated[
        Annotated[float, msgspec.Meta(ge=0.01, le=1.0)] | None,
        meta("aggressive: part of the KV cache that may be in use when a request is admitted"),
    ] = None
    past_future_window: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] | None,
        meta("past_future: finished outputs whose lengths are remembered"),
    ] = None
    past_future_reserve: Annotated[
        Annotated[float, msgspec.Meta(ge=0, le=0.5)] | None,
        meta("past_future: part of the KV cache that the expected peak leaves free"),
    ] = None
    admission_parameters: Annotated[
        tuple[str, ...], meta("other settings of the admission policy, as name=number separated by commas")
    ] = ()
    priority_age_seconds: Annotated[
        float, meta("seconds of waiting that count as one priority better", low=0.001, high=1_000_000)
    ] = 5.0
    tenant_quantum: Annotated[
        int, meta("tokens that each tenant gets in one round of fair sharing", low=1, high=1 << 30)
    ] = 256
    ttft_target_ms: Annotated[
        float,
        meta("time to first token that requests without deadline_ms should see (0: none)", low=0, high=86_400_000),
    ] = 0.0
    refuse_late: Annotated[bool, meta("answer 429 to waiting requests that can no longer make their deadline")] = False
    bypass_limit: Annotated[
        int,
        meta("requests that may overtake one that does not fit, before all behind it wait", low=0, high=1_000_000),
    ] = 64
    prefix_group_tokens: Annotated[
        int,
        meta(
            "tokens of an uncached prefix that requests must share for one to wait for the other's KV cache (0: never)",
            low=0,
            high=1 << 30,
        ),
    ] = 256
    eviction_policy: Annotated[
        Literal["lru", "lfu", "cost-aware"],
        meta("what the prefix cache gives up first: used least recently, least often, or cheapest to compute again"),
    ] = "lru"
    router_seed: Annotated[int, meta("seed of what the scheduler draws", low=0, high=2**63 - 1)] = 0
    journal: Annotated[
        str | None,
        meta(
            "file to write all scheduling into, for lightllm-rs replay and simulate; made anew at each start "
            "(FILE.1, FILE.2, ... when router and backends restart)"
        ),
    ] = None
    journal_tokens: Annotated[
        bool, meta("the journal has the token ids of prompts and outputs, not only keyed hashes")
    ] = False
    debug_checks: Annotated[bool, meta("check the scheduler's invariants after each call: slow")] = False
