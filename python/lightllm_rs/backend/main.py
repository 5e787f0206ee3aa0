"""Entry of the backend process."""

from __future__ import annotations

import gc
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightllm_rs.backend.base import ModelBackend
from lightllm_rs.backend.errors import BackendError
from lightllm_rs.backend.late_kernels import LateKernels
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.pulse import Progress, Pulse
from lightllm_rs.backend.rank import Rank
from lightllm_rs.messages.control import MayMeasure, Measure
from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.sockets import Dealer
from lightllm_rs.process.child import Child, StartError
from lightllm_rs.process.early_context import open_context_early
from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings.checks import step_range

if TYPE_CHECKING:
    from lightllm_rs.backend.trace import StepTrace

SERVE_TRACE_STEPS = "200:400"
"""Steps that `serve --trace-dir` records if nobody says which."""


def options_of(start: ChildStart) -> BackendOptions:
    """The rank's options out of what the supervisor said."""
    settings = start.settings
    return BackendOptions(
        model_path=start.model_path,
        load_format=settings.load_format,
        dtype=settings.dtype,
        quantization=settings.quantization,
        kv_cache_dtype=settings.kv_cache_dtype,
        device=start.device,
        rank=start.rank,
        world=settings.tp,
        run_dir=start.run_dir,
        epoch=start.epoch,
        seed=settings.seed,
        kv_cache_tokens=settings.kv_cache_tokens,
        page_size=settings.page_size,
        context=settings.max_model_len,
        slots=settings.max_num_seqs,
        step_tokens=settings.max_num_batched_tokens,
        mem_fraction=settings.mem_fraction,
        eager=settings.enforce_eager,
        threads=settings.threads,
        mock_step_ms=settings.mock_step_ms,
        mock_prefill_us=settings.mock_prefill_us,
    )


def make_backend(child: Child) -> ModelBackend:
    """The backend that the settings name; its model is not loaded yet. Torch is imported here or never."""
    if child.start.settings.backend == "mock":
        from lightllm_rs.backend.mock import MockBackend

        return MockBackend()
    began = time.perf_counter()
    if child.start.device == "cuda":
        open_context_early(child.start.rank)
    try:
        from lightllm_rs.backend.torch_backend import TorchBackend
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise StartError(f"torch is not installed for {sys.executable}: install it, or pass --backend mock") from None
    child.phase("imports", time.perf_counter() - began)
    return TorchBackend()


def let_visual_servers_take_memory(child: Child) -> tuple[int, int]:
    """Waits until the visual servers of the same GPU have all that they will take; returns how many bytes that is, and
    how many more have to stay free for those that are not there."""
    began = time.perf_counter()
    child.open_control().send(encode(MayMeasure()))
    while not isinstance(message := child.receive(None), Measure):
        pass  # nothing else is said to a process that is not ready
    child.phase("visual servers", time.perf_counter() - began, f"{message.bytes / (1 << 30):.2f} GiB of this GPU")
    return message.bytes, message.missing


def step_trace(start: ChildStart) -> StepTrace | None:
    """What `--trace-dir` asks for; a rank that was started again writes a file of its own."""
    settings = start.settings
    if settings.trace_dir is None:
        return None
    from lightllm_rs.backend.trace import StepTrace

    life = f".{start.epoch}" if start.epoch else ""
    first, last = step_range(settings.trace_steps or SERVE_TRACE_STEPS)
    return StepTrace(Path(settings.trace_dir) / f"rank-{start.rank}{life}.json", first, last, start.device)


def run(child: Child) -> None:
    """Loads the model, greets the router and carries out its plans until it is told to stop."""
    start = child.start
    progress = Progress()
    control = child.open_control()
    backend = make_backend(child)
    if start.shares_gpu:
        backend.before_measuring = partial(let_visual_servers_take_memory, child)
    try:
        backend.init_model(options_of(start), child.phase)
        if start.device == "cuda" and start.settings.backend != "mock":
            LateKernels().watch()
    except BackendError as error:
        raise StartError(str(error)) from None
    gc.collect()
    gc.freeze()  # what is there now stays; a collection in a step shall not walk through it
    plans = Dealer(child.endpoint(f"plans-{start.epoch}"), f"rank-{start.rank}")
    trace = step_trace(start)
    rank = Rank(backend, plans, control, start.rank, start.settings.tp, progress, trace)
    with Pulse(start, progress):
        rank.hello()
        child.ready()
        rank.run()
    if trace is not None:
        trace.close()
    plans.close()
    backend.close()
