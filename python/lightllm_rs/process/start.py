"""What a child is told at its start."""

from __future__ import annotations

import msgspec

from lightllm_rs.settings import ServeSettings


class ChildStart(msgspec.Struct, frozen=True, kw_only=True):
    """Travels as msgpack over the child's standard input.

    Attributes:
        process: its name: "http-0", "router", "backend-0", "metric", "health", "cache" or "visual-0".
        index: the number in the name (0 where there is none).
        rank: tensor parallel rank; -1 in processes that have none.
        run_dir: private folder of all sockets.
        epoch: counts starts of router and backends, or of the cache manager; part of the names of their sockets.
        listen_fd: the bound HTTP socket, which listens already; -1 in other processes.
        settings: as the user gave them, except that `max_num_batched_tokens` and `chunked_prefill_size` are decided.
        model_path: a local folder or GGUF file.
        model_name: name of the model in the API.
        device: "cpu" or "cuda".
        gpu: index of a visual server's GPU; -1 in other processes.
        shares_gpu: of a backend: a visual server has the same GPU.
        supervisor: process id of the parent.
        hash_key: drawn for each service, for names that must not be written down.
    """

    process: str
    run_dir: str
    settings: ServeSettings
    model_path: str
    model_name: str
    device: str
    supervisor: int
    hash_key: bytes = b""
    epoch: int = 0
    index: int = 0
    rank: int = -1
    gpu: int = -1
    shares_gpu: bool = False
    listen_fd: int = -1

    @property
    def package(self) -> str:
        """Name of the package that has its code: the process's name without its number, bar one."""
        kind = self.process.partition("-")[0]
        return "cache_manager" if kind == "cache" else kind

    @property
    def title(self) -> str:
        """What `ps` shows: "lightllm-rs: backend 0"."""
        return f"lightllm-rs: {self.process.replace('-', ' ')}"

    @property
    def comm(self) -> str:
        """The short name of at most 15 bytes: "llrs-backend-0"."""
        return f"llrs-{self.process}"[:15]
