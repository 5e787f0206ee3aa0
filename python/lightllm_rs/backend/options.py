"""What a backend needs to know, whoever starts it: a child process or a test."""

from __future__ import annotations

from dataclasses import dataclass

CPU_STEP_TOKENS, CUDA_STEP_TOKENS = 512, 8192


@dataclass(frozen=True)
class BackendOptions:
    """Settings of one rank. A 0 means: the backend decides.

    Attributes:
        model_path: a Hugging Face folder or a GGUF file on this machine.
        load_format: "auto", "safetensors", "gguf" or "dummy".
        dtype: "auto", "float32", "bfloat16" or "float16".
        quantization: "auto" (weights as they are in the checkpoint) or "fp8".
        kv_cache_dtype: "auto" (as `dtype`) or "fp8".
        device: "cpu" or "cuda".
        rank, world: of the tensor-parallel group.
        run_dir, epoch: where and under which number the ranks of a group find each other.
        kv_cache_tokens: size of the KV cache; 0 measures the room.
        page_size: tokens of a page.
        context: most tokens of prompt and output together.
        slots: most requests that are attached at once.
        step_tokens: most tokens of one step.
        mem_fraction: share of the device's memory that weights, KV cache and working memory may take.
        eager: no CUDA graphs.
        threads: CPU threads of torch; 0 takes the cores this process may run on.
        mock_step_ms, mock_prefill_us: time the mock backend takes for a step and for each prefill token in it.
    """

    model_path: str
    load_format: str = "auto"
    dtype: str = "auto"
    quantization: str = "auto"
    kv_cache_dtype: str = "auto"
    device: str = "cpu"
    rank: int = 0
    world: int = 1
    run_dir: str = ""
    epoch: int = 0
    seed: int = 0
    kv_cache_tokens: int = 0
    page_size: int = 0
    context: int = 0
    slots: int = 0
    step_tokens: int = 0
    mem_fraction: float = 0.9
    eager: bool = False
    threads: int = 0
    mock_step_ms: float = 0.0
    mock_prefill_us: float = 0.0

    @property
    def most_step_tokens(self) -> int:
        """`step_tokens`, or its default on this device."""
        return self.step_tokens or (CUDA_STEP_TOKENS if self.device == "cuda" else CPU_STEP_TOKENS)


@dataclass(frozen=True)
class Capacity:
    """What a rank has room for, as its hello says.

    Attributes:
        pages, page_size: the KV cache; page ids are below `pages`.
        slots: most requests that are attached at once.
        vocab: token ids are below this.
        context: most tokens of prompt and output together.
    """

    pages: int
    page_size: int
    slots: int
    vocab: int
    context: int

    @property
    def pages_a_slot(self) -> int:
        """Most pages one request can hold."""
        return -(-self.context // self.page_size)
