"""The backend that runs models with torch, on a CPU or on one GPU a rank, through the same code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lightllm_rs.backend.base import LaunchedStep, ModelBackend, PhaseReporter
from lightllm_rs.backend.cached_features import CachedFeatures
from lightllm_rs.backend.device import choose_dtype, choose_kv_dtype, open_device
from lightllm_rs.backend.device_state import DeviceState
from lightllm_rs.backend.distributed import close_group, open_group
from lightllm_rs.backend.errors import BackendError, StepError
from lightllm_rs.backend.feature_ring import RING_BYTES, FeatureRing
from lightllm_rs.backend.forward import batch_of, pack_batch
from lightllm_rs.backend.graphs import DecodeGraphs, batch_sizes
from lightllm_rs.backend.image_features import NoFeatures
from lightllm_rs.backend.kernel_build import kernels_built_together
from lightllm_rs.backend.kv_size import Room, cache_pages, gib
from lightllm_rs.backend.memory import device_memory
from lightllm_rs.backend.mixed_graphs import mixed_sizes
from lightllm_rs.backend.model_files import weights_name
from lightllm_rs.backend.model_reader import read_model
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import Array, Plan
from lightllm_rs.backend.recent_features import RecentFeatures
from lightllm_rs.backend.sampling.counts import TokenCounts
from lightllm_rs.backend.sampling.logprobs import prompt_logprobs
from lightllm_rs.backend.sampling.sampler import Sampled, pack_rows, sample, sampling_rows
from lightllm_rs.backend.slots import SlotTable
from lightllm_rs.backend.span_features import SpanFeatures
from lightllm_rs.backend.start_clock import StartClock
from lightllm_rs.backend.step_errors import does_not_compile, not_compiled, step_errors
from lightllm_rs.backend.step_graphs import StepGraphs
from lightllm_rs.backend.step_rows import StepRows, step_rows
from lightllm_rs.backend.torch_step import NO_ERRORS, TorchStep
from lightllm_rs.backend.transfer import Packed, Staging
from lightllm_rs.backend.worst_step import (
    WorstSteps,
    estimated_working,
    graphs_working,
    images_working,
    worst_capacity,
)
from lightllm_rs.kernels.draw_tokens import finite_rows
from lightllm_rs.layers.image_rows import IndexedRows
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.layers.parallel import TensorParallel
from lightllm_rs.models import CausalLM

PAGE_SIZES = {"cpu": 16, "cuda": 64}
"""Tokens of a page, by measurement: whole tiles of keys and values lie within one on a GPU (docs/performance.md)."""
CPU_SLOTS, CUDA_SLOTS = 64, 256

STAGED_WORDS = 8 * 8192
"""Room for a step's transfer beside that for its rows: some words for each of many prompt tokens."""


class TorchBackend(ModelBackend):
    """One model, its KV cache and its slots on one device.

    Attributes:
        model, kv, state: on the device.
        images: features of pictures, on rank 0 of a model that sees; None elsewhere.
        ring: the last of them, where that is a GPU.
        staging: takes what a step tells the device; None on a CPU.
        room: memory as it was measured at the start.
        graphs: captured steps; None on a CPU, with `eager` and until they are captured.
    """

    device: torch.device
    dtype: torch.dtype
    kv_dtype: torch.dtype
    tp: TensorParallel
    model: CausalLM
    kv: KvCache
    state: DeviceState
    room: Room
    images: SpanFeatures | None = None
    ring: FeatureRing | None = None
    staging: Staging | None = None
    graphs: StepGraphs | None = None

    def init_model(self, options: BackendOptions, phase: PhaseReporter) -> Capacity:
        clock = StartClock(phase)
        self.device = open_device(options)
        self.dtype, self.kv_dtype = choose_dtype(options), choose_kv_dtype(options)
        self.tp = open_group(options, self.device)
        clock.done("device", f"{self.device}, {torch.get_num_threads()} threads" if options.device == "cpu" else "")
        self.model, self.tp = read_model(options, self.dtype, self.device, self.tp)
        clock.done("weights", weights_name(self.model.config, self.dtype))
        slots = options.slots or (CUDA_SLOTS if options.device == "cuda" else CPU_SLOTS)
        config = self.model.config
        self.takes_images = config.vision is not None
        draft = Capacity(
            pages=0,
            page_size=options.page_size or PAGE_SIZES[self.device.type],
            slots=min(slots, options.most_step_tokens),
            vocab=config.vocab,
            context=config.context(None),
        )
        self.room = self._measure(options, draft)
        if options.device == "cuda":
            clock.done("kernels", "a step of the largest size")
        layers, heads, head_dim = self.model.kv_shape()
        page_bytes = KvCache.page_bytes(layers, draft.page_size, heads, head_dim, self.kv_dtype)
        pages, detail = cache_pages(options, self.room, page_bytes, draft.page_size, draft.context)
        try:
            self.open(replace(draft, pages=pages))
            if self.device.type == "cuda" and self.images is not None:
                self.ring = FeatureRing(RING_BYTES, self.images.width, self.dtype, self.device)
            clock.done("kv cache", detail)
            if self.device.type == "cuda" and not options.eager:
                before = torch.cuda.memory_reserved()
                # Ranks that share a model capture together, so that none of it is left for later.
                kinds = self.capture(everything=options.world > 1)
                clock.done("graphs", f"{kinds}, {gib(torch.cuda.memory_reserved() - before)}")
        except (torch.OutOfMemoryError, MemoryError):
            advice = "lower --mem-fraction or --kv-cache-tokens"
            raise BackendError(
                f"the KV cache does not fit beside what else is in memory ({detail}): {advice}"
            ) from None
        return self.capacity

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
        if self.device.type == "cuda":
            self.staging = Staging(STAGED_WORDS + 16 * capacity.slots, self.device)

    def capture(self, everything: bool = True) -> str:
        """Captures steps of the present cache and slots; says how many."""
        graphs = self._new_graphs()
        said = graphs.start(everything)
        self.graphs = graphs
        return said

    def idle(self) -> bool:
        return self.graphs is not None and self.graphs.idle()

    def _new_graphs(self) -> StepGraphs:
        assert self.staging is not None, "graphs are captured on a GPU"
        return StepGraphs(self.model, self.kv, self.state, self.staging, self.images)

    def _build_kernels(self, plans: list[Plan], eager: bool) -> None:
        """Compiles what the plans and captured steps launch, in parallel; whatever it computes is rubbish."""
        with kernels_built_together(self.device), self.model.outer_layers_only(), torch.inference_mode():
            for plan in plans:
                self.slots.apply(plan)
                self.apply_changes(plan)
                rows, packed = step_rows(plan, plan.decode, plan.prefill, self.slots, {}), Packed()
                pack_batch(rows, packed)
                packed.send(self.device)
                self.model(batch_of(rows, packed, self.state), self.kv)
            if not eager:
                self._new_graphs().rehearse()

    def _measure(self, options: BackendOptions, draft: Capacity) -> Room:
        """Memory for the KV cache and for steps. On a GPU by running the worst step, once its kernels are compiled."""
        tokens, config = options.most_step_tokens, self.model.config
        images = images_working(config, tokens, self.dtype.itemsize)
        if self.device.type == "cpu":
            free, total = device_memory(self.device)
            return Room(free, total, estimated_working(config, draft, tokens) + images)
        visual, missing = self.before_measuring()
        try:
            torch.cuda.empty_cache()
            self.open(worst_capacity(draft, tokens))
            worst = WorstSteps.of(self.capacity, tokens).plans()
            try:
                self._build_kernels(worst, options.eager)
            except Exception as error:
                if does_not_compile(error):
                    raise BackendError(not_compiled(error)) from error
                raise
            self.open(self.capacity)
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved()
            torch.cuda.reset_peak_memory_stats()
            steps = [self.launch(plan) for plan in worst]
            for step in steps:  # both under way at once, as when serving
                step.outcome()
            working = torch.cuda.max_memory_reserved() - before
        except (torch.OutOfMemoryError, StepError):
            raise BackendError(
                f"a step of {tokens} tokens does not fit the GPU's memory beside the weights: "
                "lower --max-num-batched-tokens or --max-num-seqs, or raise --tp"
            ) from None
        del self.kv, self.state
        torch.cuda.empty_cache()
        free, total = device_memory(self.device)
        free, visual = max(0, free - missing), visual + missing  # it counts as taken already
        working += TokenCounts.bytes(draft.slots, draft.vocab) + images
        graphs = 0
        if not options.eager:
            kinds = len(batch_sizes(draft.slots)) + len(mixed_sizes(draft.slots, draft.context))
            graphs = graphs_working(config, draft, kinds)
        ring = RING_BYTES if self.images is not None else 0
        return Room(free, total, working, torch.cuda.memory_allocated(), graphs, visual, ring)

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
        state, table, packed = self.state, self.state.sampling, Packed()
        emitting, silent = rows.emitting, rows.silent
        asked = sampling_rows(table, rows.slots[emitting], rows.ends[emitting]) if emitting.size else None
        sampled = silent_good = scores = None
        errors: Mapping[int, str] = NO_ERRORS
        features: Tensor | None = None
        if rows.images is not None and self.images is not None:
            features, errors = self.images.rows(rows.images)
        graphs = self.graphs.find(rows) if self.graphs is not None else None
        if graphs is not None:
            graphs.pack(rows, packed)
        drawn_by = graphs if isinstance(graphs, DecodeGraphs) and asked is not None and asked.plain else None
        state.pack_pages(packed)
        if asked is not None and drawn_by is None:
            pack_rows(asked, packed)
        if graphs is not None:
            packed.send(self.device, self.staging)
            state.take_pages(packed)
            hidden = graphs.run(rows, packed, features)
        else:
            if rows.prompt is not None:
                packed.add("following", rows.prompt.following)
            packed.add("checked", np.concatenate([emitting, silent]))
            pack_batch(rows, packed)
            packed.send(self.device, self.staging)
            state.take_pages(packed)
            batch = batch_of(rows, packed, state)
            if rows.images is not None:
                batch.images = IndexedRows(packed["images"], features)
            every = self.model(batch, self.kv)
            hidden = every.index_select(0, packed["checked"])
            if rows.prompt is not None:
                most, scored = int(rows.prompt.alternatives.max()), every[rows.slots.size :]
                scores = prompt_logprobs(scored, packed["following"], most, self.model.logits)
        if silent.size:
            silent_good = finite_rows(hidden[emitting.size :])
        if drawn_by is not None:
            sampled = Sampled(drawn_by.draw(rows))
        elif asked is not None:
            logits = self.model.raw_logits(hidden[: emitting.size])
            sampled = sample(logits, asked, packed, table, state.last_tokens)
        return TorchStep(rows, sampled, asked, silent_good, scores, table, errors)

    def image_cache_up(self, endpoint: str) -> None:
        if self.images is not None:
            self.images.source.close()
            cached = CachedFeatures(endpoint, "backend-0", self.dtype, self.device)
            self.images.source = cached if self.ring is None else RecentFeatures(cached, self.ring)

    def close(self) -> None:
        if self.images is not None:
            self.images.source.close()
        close_group(self.tp)
