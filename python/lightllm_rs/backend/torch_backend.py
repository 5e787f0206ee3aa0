"""The backend that runs models with torch, on a CPU or on one GPU a rank, through the same code."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.base import LaunchedStep, ModelBackend, PhaseReporter
from lightllm_rs.backend.cached_features import CachedFeatures
from lightllm_rs.backend.device import choose_dtype, choose_kv_dtype, open_device
from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.distributed import close_group, open_group, open_peers
from lightllm_rs.backend.errors import BackendError, StepError
from lightllm_rs.backend.forward import batch_of, pack_batch
from lightllm_rs.backend.graphs import DecodeGraphs, batch_sizes
from lightllm_rs.backend.image_features import NoFeatures
from lightllm_rs.backend.kv_size import Room, cache_pages
from lightllm_rs.backend.memory import device_memory, is_out_of_memory
from lightllm_rs.backend.mixed_graphs import MixedGraphs, decode_sizes, token_sizes
from lightllm_rs.backend.model_files import open_checkpoint
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import Array, Plan
from lightllm_rs.backend.sampling.counts import TokenCounts
from lightllm_rs.backend.sampling.logprobs import prompt_logprobs
from lightllm_rs.backend.sampling.sampler import finite_rows, pack_rows, sample, sampling_rows
from lightllm_rs.backend.slots import SlotTable
from lightllm_rs.backend.span_features import SpanFeatures
from lightllm_rs.backend.step_errors import step_errors
from lightllm_rs.backend.step_rows import StepRows, step_rows
from lightllm_rs.backend.torch_step import NO_ERRORS, TorchStep
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.backend.worst_step import estimated_working, graphs_working, images_working, worst_capacity, worst_plan
from lightllm_rs.checkpoint import CheckpointError, ModelConfig
from lightllm_rs.layers.image_rows import IndexedRows
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import CausalLM, load_model

PAGE_SIZE = 16
CPU_SLOTS, CUDA_SLOTS = 64, 256


class TorchBackend(ModelBackend):
    """One model, its KV cache and its slots on one device.

    Attributes:
        model, kv, state: on the device.
        images: features of pictures, on rank 0 of a model that sees; None elsewhere.
        graphs: captured steps; None on a CPU, with `eager` and until they are captured.
    """

    device: torch.device
    dtype: torch.dtype
    kv_dtype: torch.dtype
    tp: TensorParallel
    model: CausalLM
    kv: KvCache
    state: DeviceState
    images: SpanFeatures | None = None
    graphs: tuple[DecodeGraphs, MixedGraphs] | None = None

    def init_model(self, options: BackendOptions, phase: PhaseReporter) -> Capacity:
        clock = _Clock(phase)
        self.device = open_device(options)
        self.dtype, self.kv_dtype = choose_dtype(options), choose_kv_dtype(options)
        self.tp = open_group(options, self.device)
        clock.done("device", f"{self.device}, {torch.get_num_threads()} threads" if options.device == "cpu" else "")
        self.load(options)
        clock.done("weights", weights_name(self.model.config, self.dtype))
        slots = options.slots or (CUDA_SLOTS if options.device == "cuda" else CPU_SLOTS)
        config = self.model.config
        self.takes_images = config.vision is not None
        draft = Capacity(
            pages=0,
            page_size=options.page_size or PAGE_SIZE,
            slots=min(slots, options.most_step_tokens),
            vocab=config.vocab,
            context=config.context(None),
        )
        room = self._measure(options, draft)
        if options.device == "cuda":
            clock.done("kernels", "a step of the largest size")
        layers, heads, head_dim = self.model.kv_shape()
        page_bytes = KvCache.page_bytes(layers, draft.page_size, heads, head_dim, self.kv_dtype)
        pages, detail = cache_pages(options, room, page_bytes, draft.page_size, draft.context)
        try:
            self.open(replace(draft, pages=pages))
            clock.done("kv cache", detail)
            if self.device.type == "cuda" and not options.eager:
                clock.done("graphs", f"{self.capture()} kinds of steps")
        except (torch.OutOfMemoryError, MemoryError):
            advice = "lower --mem-fraction or --kv-cache-tokens"
            raise BackendError(
                f"the KV cache does not fit beside what else is in memory ({detail}): {advice}"
            ) from None
        return self.capacity

    def load(self, options: BackendOptions) -> None:
        """Reads the model. Raises BackendError."""
        checkpoint = open_checkpoint(options)
        try:
            config = checkpoint.config()
            context = config.context(options.context or None)  # refused before minutes of loading
            self.tp = open_peers(self.tp, config.hidden, self.dtype, self.device)
            self.model = load_model(
                checkpoint,
                dtype=self.dtype,
                device=self.device,
                tp=self.tp,
                seed=options.seed,
                context=context,
                quantize=options.quantization == "fp8",
            )
        except CheckpointError as error:
            raise BackendError(str(error)) from None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            where = "GPU's memory: raise --tp" if self.device.type == "cuda" else "memory: choose a smaller --dtype"
            raise BackendError(f"the weights do not fit the {where} or use a smaller model") from None

    def open(self, capacity: Capacity) -> None:
        """Makes the KV cache and the slots. Graphs of those before are gone."""
        self.graphs = None
        self.capacity = capacity
        config = self.model.config
        three_axes = config.mrope is not None
        self.slots = SlotTable(capacity, three_axes)
        # The page after the last belongs to padding rows.
        layers, heads, head_dim = self.model.kv_shape()
        self.kv = KvCache(layers, capacity.pages + 1, capacity.page_size, heads, head_dim, self.kv_dtype, self.device)
        self.state = DeviceState(capacity, self.device, three_axes)
        if config.vision is not None and self.tp.rank == 0:
            source = self.images.source if self.images is not None else NoFeatures()
            self.images = SpanFeatures(source, config.vision.width(config.hidden), self.dtype, self.device)

    def capture(self) -> int:
        """Captures steps of the present cache and slots; says how many."""
        # Capturing collects garbage each time; what is there now stays.
        gc.collect()
        gc.freeze()
        pool = torch.cuda.graph_pool_handle()
        # The largest first: the others fit into its memory.
        mixed = MixedGraphs(self.model, self.kv, self.state, pool, self.images)
        self.graphs = (DecodeGraphs(self.model, self.kv, self.state, pool), mixed)
        return len(self.graphs[0].sizes) + len(mixed)

    def _measure(self, options: BackendOptions, draft: Capacity) -> Room:
        """Memory for the KV cache and for steps. On a GPU by running the worst step, which compiles kernels too."""
        tokens, config = options.most_step_tokens, self.model.config
        images = images_working(config, tokens, self.dtype.itemsize)
        if self.device.type == "cpu":
            free, total = device_memory(self.device)
            return Room(free, total, estimated_working(config, draft, tokens) + images)
        visual = self.before_measuring()
        try:
            torch.cuda.empty_cache()
            self.open(worst_capacity(draft, tokens))
            before = torch.cuda.memory_reserved()
            torch.cuda.reset_peak_memory_stats()
            self.launch(worst_plan(self.capacity, tokens)).outcome()
            working = torch.cuda.max_memory_reserved() - before
        except (torch.OutOfMemoryError, StepError):
            raise BackendError(
                f"a step of {tokens} tokens does not fit the GPU's memory beside the weights: "
                "lower --max-num-batched-tokens or --max-num-seqs, or raise --tp"
            ) from None
        del self.kv, self.state
        torch.cuda.empty_cache()
        free, total = device_memory(self.device)
        working += TokenCounts.bytes(draft.slots, draft.vocab) + images
        if not options.eager:
            kinds = len(batch_sizes(draft.slots)) + len(decode_sizes(draft.slots)) * len(token_sizes(draft.context))
            working += graphs_working(config, draft, kinds)
        return Room(free, total, working, visual)

    @torch.inference_mode()
    def apply_changes(self, plan: Plan) -> None:
        self.state.apply(plan, self.slots, self.kv)
        if self.images is not None:
            self.images.forget(plan.detach.tolist())

    def decode_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        return self.mixed_batch(plan, rows, rows[:0])

    def prefill_batch(self, plan: Plan, rows: Array) -> LaunchedStep:
        return self.mixed_batch(plan, rows[:0], rows)

    def mixed_batch(self, plan: Plan, decode: Array, prefill: Array) -> LaunchedStep:
        """One forward pass over all rows, then the sampler over those that emit."""
        with torch.inference_mode(), step_errors():
            return self._run(step_rows(plan, decode, prefill, self.slots, self.state.histories))

    def _run(self, rows: StepRows) -> LaunchedStep:
        table, packed = self.state.sampling, Packed()
        emitting, silent = rows.emitting, rows.silent
        asked = sampling_rows(table, rows.slots[emitting], rows.ends[emitting]) if emitting.size else None
        if asked is not None:
            pack_rows(asked, packed)
        errors: Mapping[int, str] = NO_ERRORS
        features: Tensor | None = None
        if rows.images is not None and self.images is not None:
            features, errors = self.images.rows(rows.images)
        graphs = next((graphs for graphs in self.graphs or () if graphs.fits(rows)), None)
        if graphs is not None:
            graphs.pack(rows, packed)
            packed.send(self.device)
            hidden = graphs.run(rows, packed, features)
        else:
            outputs = [rows.last_tokens[emitting], rows.last_tokens[silent]]
            if rows.prompt is not None:
                outputs.append(rows.prompt.tokens)
                packed.add("following", rows.prompt.following)
            pack_batch(rows, np.concatenate(outputs), packed)
            packed.send(self.device)
            batch = batch_of(rows, packed, self.state)
            if rows.images is not None:
                batch.images = IndexedRows(packed["images"], features)
            hidden = self.model(batch, self.kv)
        sampled = silent_good = scores = None
        checked = emitting.size + silent.size
        if silent.size:
            silent_good = finite_rows(hidden[emitting.size : checked])
        if rows.prompt is not None:
            most = int(rows.prompt.alternatives.max())
            scores = prompt_logprobs(hidden[checked:], packed["following"], most, self.model.logits)
        if asked is not None:
            sampled = sample(self.model.logits(hidden[: emitting.size]), asked, packed, table)
            self.state.last_tokens.index_copy_(0, packed["sample.slots"], sampled.tokens)
        return TorchStep(rows, sampled, asked, silent_good, scores, table, errors)

    def image_cache_up(self, endpoint: str) -> None:
        if self.images is not None:
            self.images.source.close()
            self.images.source = CachedFeatures(endpoint, "backend-0", self.dtype, self.device)

    def close(self) -> None:
        if self.images is not None:
            self.images.source.close()
        close_group(self.tp)


def weights_name(config: ModelConfig, dtype: torch.dtype) -> str:
    """What was loaded, for the log."""
    rounded = "" if config.quantization is None else ", matrices in FP8"
    return f"{config.architecture} in {str(dtype).removeprefix('torch.')}{rounded}"


class _Clock:
    """Reports the phases of the start, each from the end of the one before."""

    def __init__(self, phase: PhaseReporter) -> None:
        self._phase, self._began = phase, time.perf_counter()

    def done(self, name: str, detail: str = "") -> None:
        """A phase has ended."""
        now = time.perf_counter()
        self._phase(name, now - self._began, detail)
        self._began = now
