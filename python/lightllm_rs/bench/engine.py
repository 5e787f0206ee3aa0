"""Router and backends as `serve` starts them, without HTTP: this process is their supervisor and their only client."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightllm_rs.bench.errors import BenchError
from lightllm_rs.bench.processes import Processes
from lightllm_rs.messages import requests
from lightllm_rs.messages.frames import PROTOCOL, encode, pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.sockets import Dealer, Hub, close_context, endpoint
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.device import choose_device, visible_gpus, with_budgets
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.model import find_model
from lightllm_rs.supervisor.roster import Roster
from lightllm_rs.supervisor.run_dir import RunDirectory

CLIENT = "http-0"
SILENCE_MS = 1000
"""How often the processes are looked at while nothing comes."""

RECEIVED_BYTES = 1 << 16
"""The router hears how much was taken in after so many bytes."""


@dataclass(frozen=True)
class Ask:
    """A prompt in token ids, and how many tokens to generate; ends are ignored."""

    ids: Sequence[int]
    output_tokens: int


class Engine:
    """A running engine. Made by `running`.

    Attributes:
        limits: what the router said in its hello.
    """

    def __init__(self, processes: Processes, dealer: Dealer) -> None:
        self._processes, self._dealer = processes, dealer
        self._next, self._taken, self._reported = 1, 0, 0
        self._dealer.send(encode(requests.ClientHello(PROTOCOL, CLIENT)))
        message = requests.router_decoder.decode(self._frame())
        assert isinstance(message, requests.RouterHello), "the router's first word is its hello"
        self.limits = message

    def generate(self, asks: Sequence[Ask], temperature: float, progress: Callable[[int], object]) -> float:
        """Sends all at once and waits for the last token of the last one. Returns the seconds.

        Args:
            progress: is told how many more have ended.

        Raises BenchError if a request fails, gets another number of tokens than it asked for, or a process dies.
        """
        left = {number: ask.output_tokens for number, ask in enumerate(asks, self._next)}
        frames = [
            encode(requests.Add(number, pack_u32(ask.ids), ask.output_tokens, Sampling(temperature=temperature)))
            for number, ask in zip(left, asks, strict=True)
        ]
        self._next += len(asks)
        began = time.perf_counter()
        for frame in frames:
            self._dealer.send(frame)
        while left:
            frame = self._frame()
            self._acknowledge(len(frame))
            message = requests.router_decoder.decode(frame)
            if isinstance(message, requests.Failed):
                raise BenchError(f"a request failed: {message.message}")
            assert isinstance(message, requests.StepOutput)
            ended = 0
            for row in message.rows:
                left[row.request] -= len(row.tokens) // 4
                if row.finish != requests.RUNNING:
                    if left.pop(row.request):
                        raise BenchError("a request ended with another number of tokens than it asked for")
                    ended += 1
            if ended:
                progress(ended)
        return time.perf_counter() - began

    def _acknowledge(self, length: int) -> None:
        self._taken += length
        if self._taken - self._reported >= RECEIVED_BYTES:
            self._reported = self._taken
            self._dealer.send(encode(requests.Received(self._taken)))

    def _frame(self) -> bytes:
        while (frame := self._dealer.receive(SILENCE_MS)) is None:
            self._processes.check()
        return frame


@contextmanager
def running(settings: ServeSettings, phase: Callable[[str, float, str], None]) -> Iterator[Engine]:
    """An engine with these settings that is ready; it ends with the block.

    Args:
        phase: is told of the phases of its start: name, seconds, detail.

    Raises BenchError where it cannot start.
    """
    with ExitStack() as undo:
        try:
            device = choose_device(settings, visible_gpus())
            model, run_dir = find_model(settings), RunDirectory()
        except ServiceError as error:
            raise BenchError(str(error)) from None
        undo.callback(run_dir.remove)
        undo.callback(close_context)
        control_hub = _hub(undo, run_dir.path, "control")
        for name in ("health", "metrics"):
            _hub(undo, run_dir.path, name)  # figures that nobody reads; a few frames a second wait in it
        starts = Roster(with_budgets(settings, device), model, device, run_dir.path, []).engine(0)
        processes = Processes(control_hub, starts)
        undo.callback(processes.stop)
        processes.wait_ready(settings.start_timeout, phase)
        dealer = Dealer(endpoint(run_dir.path, "requests-0"), f"{CLIENT}.{os.getpid()}")
        undo.callback(dealer.close)
        yield Engine(processes, dealer)


def random_asks(limits: requests.RouterHello, count: int, input_len: int, output_len: int, seed: int) -> list[Ask]:
    """Prompts of random ids, none like another. Raises BenchError where they are longer than the context."""
    if input_len + output_len > limits.context:
        raise BenchError(f"{input_len} + {output_len} tokens are more than the context of {limits.context}")
    ids = np.random.default_rng(seed).integers(0, limits.vocab, (count, input_len))
    return [Ask(row.tolist(), output_len) for row in ids]


def _hub(undo: ExitStack, run_dir: Path, name: str) -> Hub:
    hub = Hub(endpoint(run_dir, name))
    undo.callback(hub.close)
    return hub
