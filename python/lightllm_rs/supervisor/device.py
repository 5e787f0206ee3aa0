"""Which device the backends run on, without importing torch."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lightllm_rs.settings import ServeSettings
from lightllm_rs.settings.engine import EngineSettings
from lightllm_rs.settings.images import ImageSettings
from lightllm_rs.supervisor.errors import ServiceError

STEP_TOKENS = {"cpu": 512, "cuda": 8192}
PREFILL_CHUNK = {"cpu": 256, "cuda": 8192}
FOR_IMAGES = tuple(name for name in ImageSettings.__struct_fields__ if name not in EngineSettings.__struct_fields__)
"""Settings that only a model that sees has a use for."""

CORES_PER_HTTP_WORKER, MOST_HTTP_WORKERS = 4, 4


def visible_gpus(devices: Path = Path("/dev")) -> int:
    """NVIDIA GPUs that a process started now would see."""
    present = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in devices.glob("nvidia*"))
    if not present and (devices / "dxg").exists():
        present = 1  # WSL shows no device files of single GPUs
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return present
    listed = [name.strip() for name in chosen.split(",")]
    usable = next((at for at, name in enumerate(listed) if name in ("", "-1")), len(listed))
    return min(present, usable)


def choose_device(settings: ServeSettings, gpus: int) -> str:
    """ "cpu" or "cuda". Raises ServiceError where the settings ask for more than there is."""
    if settings.backend == "mock":
        return "cpu"
    device = settings.device if settings.device != "auto" else ("cuda" if gpus else "cpu")
    if device == "cuda" and not gpus:
        raise ServiceError("no GPU can be seen: choose --device cpu, or look at CUDA_VISIBLE_DEVICES and nvidia-smi")
    if device == "cuda" and gpus < settings.tp:
        raise ServiceError(
            f"--tp {settings.tp} needs as many GPUs and {gpus} can be seen: "
            "lower --tp, or look at CUDA_VISIBLE_DEVICES and nvidia-smi"
        )
    return device


def visual_gpus(settings: ServeSettings) -> list[int]:
    """The GPU of each visual server: those of the backends in turn, or some from --visual-gpu on."""
    if settings.visual_gpu < 0:
        return [index % settings.tp for index in range(settings.visual_dp)]
    return [settings.visual_gpu + index for index in range(settings.visual_dp)]


def check_visual(settings: ServeSettings, device: str, gpus: int) -> None:
    """Raises ServiceError if the visual servers of a model that sees want other GPUs than there are."""
    if device == "cpu" and settings.visual_gpu >= 0:
        raise ServiceError(f"--visual-gpu {settings.visual_gpu} needs --device cuda: leave one of them out")
    if device == "cuda" and max(visual_gpus(settings)) >= gpus:
        raise ServiceError(
            f"--visual-gpu {settings.visual_gpu} with --visual-dp {settings.visual_dp} needs GPU "
            f"{max(visual_gpus(settings))} and {gpus} can be seen, counted from 0: lower one of them"
        )


def check_text(settings: ServeSettings, places: Mapping[str, str]) -> None:
    """Raises ServiceError if a model of text is given settings that only one that sees has a use for."""
    given = [places[name] for name in FOR_IMAGES if name in places]
    if given:
        who = "--backend mock" if settings.backend == "mock" else "this one"
        be, them = ("is", "it") if len(given) == 1 else ("are", "them")
        raise ServiceError(
            f"{', '.join(given)} {be} for models that take images, and {who} takes none: leave {them} out"
        )


def http_workers(cores: int) -> int:
    """HTTP processes where the settings leave their number open."""
    return max(1, min(MOST_HTTP_WORKERS, cores // CORES_PER_HTTP_WORKER))


def with_budgets(settings: ServeSettings, device: str) -> ServeSettings:
    """The settings with the tokens of a step and of a prefill chunk, and the number of HTTP processes, decided."""
    budget, chunk = settings.max_num_batched_tokens, settings.chunked_prefill_size
    budget = budget or max(STEP_TOKENS[device], chunk, settings.max_num_seqs)
    chunk = chunk or min(PREFILL_CHUNK[device], budget)
    workers = settings.http_workers or http_workers(len(os.sched_getaffinity(0)))
    return msgspec.structs.replace(
        settings, max_num_batched_tokens=budget, chunked_prefill_size=chunk, http_workers=workers
    )
