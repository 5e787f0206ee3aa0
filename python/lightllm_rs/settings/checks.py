"""What must hold between settings."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from lightllm_rs.settings.errors import SettingsError
from lightllm_rs.settings.serve import ServeSettings

_STEPS = re.compile(r"(\d{1,9}):(\d{1,9})")
_DOMAIN = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_PARAMETER = re.compile(r"[a-z_]+=-?[0-9]+(\.[0-9]+)?")

POLICY_PARAMETERS = {
    "router_token_ratio": ("ema", "token_ratio"),
    "admission_watermark": ("aggressive", "watermark"),
    "past_future_window": ("past_future", "window"),
    "past_future_reserve": ("past_future", "reserve"),
}
"""Settings that belong to one admission policy: the policy, and the scheduler's name of the parameter."""


def check(settings: ServeSettings) -> None:
    """Raises SettingsError when settings do not fit each other, or name a file that is not there."""
    if (settings.ssl_keyfile is None) != (settings.ssl_certfile is None):
        missing = "--ssl-keyfile" if settings.ssl_keyfile is None else "--ssl-certfile"
        raise SettingsError(f"TLS needs both the key and the certificate: give {missing} too")
    for flag, path in (
        ("--ssl-keyfile", settings.ssl_keyfile),
        ("--ssl-certfile", settings.ssl_certfile),
        ("--chat-template", settings.chat_template),
    ):
        if path is not None and not Path(path).is_file():
            raise SettingsError(f"{flag}: there is no file {path}")
    if settings.tokenizer is not None and not Path(settings.tokenizer).exists():
        raise SettingsError(f"--tokenizer: there is no file or folder {settings.tokenizer}")
    budget, chunk = settings.max_num_batched_tokens, settings.chunked_prefill_size
    if budget and chunk > budget:
        raise SettingsError(
            f"--chunked-prefill-size {chunk} is more than --max-num-batched-tokens {budget}: "
            "a chunk has to fit in one step"
        )
    if budget and settings.max_num_seqs > budget:
        raise SettingsError(
            f"--max-num-seqs {settings.max_num_seqs} is more than --max-num-batched-tokens {budget}: "
            "each running request takes a token of a step"
        )
    if settings.page_size & (settings.page_size - 1):
        raise SettingsError(f"--page-size must be a power of two, and is {settings.page_size}")
    if settings.journal is None and settings.journal_tokens:
        raise SettingsError("--journal-tokens has nothing to write into: give --journal FILE too")
    if settings.journal is not None:
        parent = Path(settings.journal).parent
        if not parent.is_dir() or Path(settings.journal).is_dir():
            raise SettingsError(
                f"--journal: {settings.journal} cannot be made: it must be a file in an existing folder"
            )
    if settings.trace_steps is not None:
        step_range(settings.trace_steps)
        if settings.trace_dir is None:
            raise SettingsError("--trace-steps has nowhere to write to: give --trace-dir DIR too")
    if settings.trace_dir is not None:
        if not Path(settings.trace_dir).is_dir():
            raise SettingsError(f"--trace-dir: there is no folder {settings.trace_dir}: make it")
        if settings.backend == "mock":
            raise SettingsError("--trace-dir records torch's work, and --backend mock has none: leave one of them out")
    for field, (policy, _) in POLICY_PARAMETERS.items():
        if getattr(settings, field) is not None and settings.admission_policy != policy:
            raise SettingsError(
                f"--{field.replace('_', '-')} is for --admission-policy {policy}, and that is "
                f"{settings.admission_policy}: leave one of them out"
            )
    if settings.backend == "mock" and settings.tp != 1:
        raise SettingsError(f"--backend mock has one rank only: leave out --tp {settings.tp}")
    for parameter in settings.admission_parameters:
        if _PARAMETER.fullmatch(parameter) is None:
            raise SettingsError(f"--admission-parameters: {parameter!r} is no setting: write it as name=number")
    for domain in settings.allowed_media_domains:
        if _DOMAIN.fullmatch(domain) is None:
            raise SettingsError(
                f"--allowed-media-domains: {domain!r} is no host: write it as example.org or *.example.org"
            )
    folder = settings.allowed_local_media_path
    if folder is not None and not Path(folder).is_dir():
        raise SettingsError(f"--allowed-local-media-path: there is no folder {folder}")
    for origin in settings.allowed_origins:
        if origin != "*" and "://" not in origin:
            raise SettingsError(f"--allowed-origins: {origin!r} is no origin: write it as https://example.org, or *")


def step_range(text: str) -> tuple[int, int]:
    """First step and the one after the last of `--trace-steps`. Raises SettingsError."""
    match = _STEPS.fullmatch(text)
    if match is None or int(match[1]) >= int(match[2]):
        raise SettingsError(f"--trace-steps must be FIRST:END with FIRST below END, as 200:400, and is {text!r}")
    return int(match[1]), int(match[2])


def warnings(settings: ServeSettings) -> list[str]:
    """Lines that the user should see before the service starts."""
    lines = []
    if settings.api_key is None and not is_loopback(settings.host):
        lines.append(
            f"listening on {settings.host} without a key: anybody who reaches it can use it; set LIGHTLLM_API_KEY"
        )
    return lines


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
