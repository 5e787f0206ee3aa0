"""The settings of `lightllm-rs serve`. Field order, from base to derived, is the order in the help and in the docs."""

from __future__ import annotations

from typing import Annotated, Literal

from lightllm_rs.settings.images import ImageSettings
from lightllm_rs.settings.metadata import meta


class ServeSettings(ImageSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of the service; 0 means "choose for me" where the help says auto. Travels to every child as msgpack.

    A value that was built without the checks of `settings.checks.check` may be out of its bounds.
    """

    host: Annotated[str, meta("address to listen on", group="HTTP")] = "127.0.0.1"
    port: Annotated[int, meta("port to listen on (0: any free one)", low=0, high=65_535)] = 8000
    http_workers: Annotated[
        int, meta("HTTP processes (0: auto, one for every four CPU cores, at most four)", low=0, high=64)
    ] = 0
    api_key: Annotated[
        str | None, meta("key for every route but the health ones; prefer the environment variable", secret=True)
    ] = None
    admin_api_key: Annotated[
        str | None, meta("key for control routes; prefer the environment variable", secret=True)
    ] = None
    allowed_origins: Annotated[tuple[str, ...], meta("origins that browsers may call from, separated by commas")] = ()
    ssl_keyfile: Annotated[str | None, meta("PEM file of the TLS key")] = None
    ssl_certfile: Annotated[str | None, meta("PEM file of the TLS certificate")] = None
    max_body_bytes: Annotated[int, meta("longest request body", low=1024, high=1 << 30)] = 16 << 20
    max_n: Annotated[int, meta("most choices of one request", low=1, high=1024)] = 64
    max_stop_strings: Annotated[int, meta("most stop strings of one request", low=0, high=1024)] = 16
    max_prompts: Annotated[int, meta("most prompts of one request", low=1, high=65_536)] = 256
    max_logit_bias: Annotated[int, meta("most entries of logit_bias", low=0, high=65_536)] = 300
    stream_stall_timeout: Annotated[
        float, meta("seconds after which a reader that takes nothing is cut off", low=0.1, high=86_400)
    ] = 60.0
    keepalive_seconds: Annotated[
        float, meta("seconds of silence in a stream before a comment is sent", low=0.1, high=86_400)
    ] = 15.0

    start_timeout: Annotated[
        float, meta("seconds until every process must be ready", group="Service", low=1, high=86_400)
    ] = 600.0
    drain_timeout: Annotated[
        float, meta("seconds that running requests have left after SIGTERM or Ctrl-C", low=0, high=86_400)
    ] = 30.0
    stall_seconds: Annotated[
        float, meta("seconds of work without progress after which /health says so", low=1, high=86_400)
    ] = 60.0
    trace_dir: Annotated[
        str | None,
        meta(
            "folder for a Chrome trace of some steps of each rank, rank-0.json and so on; "
            "lightllm-rs trace says what is in it"
        ),
    ] = None
    trace_steps: Annotated[
        str | None,
        meta(
            "with trace-dir: which steps, as FIRST:END, counted from 0 (without it 200:400); a rank stands still while "
            "it writes them. For lightllm-rs profile: which steps of each kind (2:12)"
        ),
    ] = None
    log_stats: Annotated[
        bool,
        meta(
            "a line of figures in the log while there is work (tokens a second, queue, KV cache, latencies), and one "
            "when it has ended; on, since it is the first thing to look at"
        ),
    ] = True
    log_stats_interval: Annotated[float, meta("seconds between these lines", low=0.1, high=86_400)] = 10.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], meta("how much to log")] = "info"
