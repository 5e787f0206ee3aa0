"""What only a GPU shows: sizing by measurement, graphs of the real start, and the same draws as on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.fake_supervisor import FakeSupervisor
from helpers.plan_driver import Driver, with_settings
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import WholePass, prompt_of
from lightllm_rs.backend.options import BackendOptions, Capacity
from lightllm_rs.backend.plan import read_plan
from lightllm_rs.backend.sampling.sampler import pack_rows, sample, sampling_rows
from lightllm_rs.backend.sampling.table import SamplingTable
from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.messages.frames import pack_f32, pack_u32, unpack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import Attach, RankHello, RankStop, StepResult

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

VOCAB = 32_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"), num_hidden_layers=3)


@pytest.fixture(scope="module")
def started(folder: Path) -> tuple[TorchBackend, dict[str, str]]:
    """A backend that has sized its cache and captured its graphs, and the phases it reported."""
    backend = TorchBackend()
    phases: dict[str, str] = {}
    options = BackendOptions(str(folder), device="cuda", dtype="float32", mem_fraction=0.3, slots=20, step_tokens=256)
    backend.init_model(options, lambda name, _, detail: phases.update({name: detail}))
    return backend, phases


def test_the_start_measures_and_captures(started: tuple[TorchBackend, dict[str, str]]) -> None:
    backend, phases = started
    assert list(phases) == ["device", "weights", "kernels", "kv cache", "graphs"]
    assert backend.graphs is not None
    assert backend.graphs.decode.sizes == [1, 2, 4, 8, 16, 20]
    free, total = torch.cuda.mem_get_info()
    assert 0.2 < (total - free) / total < 0.32, phases["kv cache"]


def test_every_size_of_batch(started: tuple[TorchBackend, dict[str, str]]) -> None:
    """Slots come and go, so that padded graphs of every size run beside mixed steps."""
    backend, _ = started
    driver, whole = Driver(backend), WholePass(backend)
    prompts = {slot: prompt_of(slot, 3 + 5 * slot) for slot in range(20)}
    for slot, ids in prompts.items():
        driver.attach(slot, ids)
        driver.prefill(slot)
        for other in range(slot):
            driver.decode(other)
        driver.step()
    for _ in range(3):
        for slot in prompts:
            driver.decode(slot)
        driver.step()
    for slot in range(19, -1, -1):
        for other in range(slot + 1):
            driver.decode(other)
        launched = driver.launch()
        for other in range(slot + 1):  # launched before the result is there
            driver.decode(other)
        second = driver.launch()
        driver.finish(launched)
        driver.finish(second)
        held = driver.slots[slot]
        count = len(held.ids) - len(prompts[slot])
        assert held.ids[len(prompts[slot]) :] == whole.greedy(prompts[slot], count), f"slot {slot}"
        driver.detach(slot, free=True)
    driver.step()


def test_draws_are_those_of_a_cpu() -> None:
    requests = [
        Sampling(temperature=0.0),
        Sampling(temperature=1.0, seed=1),
        Sampling(temperature=0.8, seed=2, top_p=0.9),
        Sampling(temperature=1.2, seed=3, top_k=40),
        Sampling(temperature=1.0, seed=4, min_p=0.05, top_p=0.95, top_k=100),
        Sampling(temperature=1.0, seed=2**64 - 1, presence=0.5, frequency=0.3, repetition=1.2),
        Sampling(temperature=0.0, bias_ids=pack_u32([7]), bias_values=pack_f32([100.0]), logprobs=5),
        Sampling(temperature=0.5, seed=9, min_tokens=50, end_ids=pack_u32([0, 1, 2]), logprobs=2),
    ]
    history = pack_u32([5, 6, 7, 5])
    attached = [Attach(slot, 3, sampling, history) for slot, sampling in enumerate(requests)]
    differing = 0
    tables = {device: SamplingTable(len(requests), VOCAB, torch.device(device)) for device in ("cpu", "cuda")}
    for table in tables.values():
        table.attach(attached)
    for step in range(30):
        logits = (3 * np.random.default_rng(step).standard_normal((len(requests), VOCAB))).astype(np.float32)
        results = {}
        for device, table in tables.items():
            slots = np.arange(len(requests))
            rows = sampling_rows(table, slots, slots * 0 + 4 + step)
            packed = Packed()
            pack_rows(rows, packed)
            packed.send(torch.device(device))
            last = torch.zeros(len(requests), dtype=torch.int64, device=device)
            results[device] = sample(torch.from_numpy(logits).to(device, copy=True), rows, packed, table, last)
            assert last.tolist() == results[device].tokens.tolist()
        assert results["cuda"].good.all()
        differing += int((results["cpu"].tokens != results["cuda"].tokens.cpu()).sum())
        assert results["cpu"].tokens[[0, 6]].tolist() == results["cuda"].tokens[[0, 6]].tolist()
    assert differing <= 2  # of 240; a draw may fall on the border between two tokens, where sums round differently


def test_a_rank_process_on_the_gpu(tmp_path: Path, folder: Path, started: tuple[TorchBackend, dict[str, str]]) -> None:
    """The main loop, its pipelining and its answers, against the backend of this process."""
    backend, _ = started
    with FakeSupervisor(
        tmp_path, folder, "cuda", dtype="float32", kv_cache_tokens=4096, max_num_seqs=4, mem_fraction=0.6
    ) as supervisor:
        supervisor.start_rank(0)
        supervisor.wait_ready()
        _, hello = supervisor.receive()
        assert isinstance(hello, RankHello)
        assert "graphs" in supervisor.phases("backend-0")
        driver = Driver(backend)
        driver.page_size = hello.page_size
        driver.free_pages = list(range(hello.pages))
        read_plan_capacity = Capacity(hello.pages, hello.page_size, hello.slots, hello.vocab, hello.context)
        ids = prompt_of(3, 40)
        driver.attach(1, ids, with_settings(logprobs=1))
        driver.prefill(1)
        tokens: list[int] = []
        waiting = 0
        for _ in range(12):
            plan, _ = driver.message()
            read_plan(plan, read_plan_capacity)
            supervisor.send(0, plan)
            waiting += 1
            if waiting == 2:
                _, result = supervisor.receive()
                assert isinstance(result, StepResult)
                tokens += unpack_u32(result.tokens).tolist()
                assert len(result.extras) == 1
                waiting -= 1
            driver.decode(1)
        _, result = supervisor.receive()
        assert isinstance(result, StepResult)
        tokens += unpack_u32(result.tokens).tolist()
        assert tokens == WholePass(backend).greedy(ids, 12)
        supervisor.send(0, RankStop())
        assert supervisor.children[0].wait(60) == 0


def test_no_compiler_is_one_line(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with FakeSupervisor(tmp_path, folder, "cuda") as supervisor:
        child = supervisor.start_rank(0)
        assert "Triton kernels need a C compiler" in supervisor.last_words()
        assert child.wait(60) == 1
