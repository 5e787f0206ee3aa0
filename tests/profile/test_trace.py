"""Chrome traces: what is recorded, and what is read out of them."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers.fake_supervisor import FakeSupervisor
from helpers.plan_driver import Driver
from helpers.tiny_models import make_tiny_model
from lightllm_rs.backend.mock import MockBackend
from lightllm_rs.backend.options import Capacity
from lightllm_rs.cli import main
from lightllm_rs.messages.steps import RankHello, RankStop, StepResult
from lightllm_rs.profile.kernel_groups import OTHER, group_of
from lightllm_rs.profile.timeline import TraceError, Work, read_timeline, timeline
from lightllm_rs.profile.timeline_table import table
from lightllm_rs.profile.trace import shapes_of
from lightllm_rs.settings import SettingsError

KERNELS = Path(__file__).parents[2] / "kernels"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def event(name: str, start: float, duration: float, category: str = "kernel", thread: int = 1) -> dict[str, Any]:
    return {"ph": "X", "cat": category, "name": name, "ts": start, "dur": duration, "pid": 0, "tid": thread}


def test_overlapping_work_is_busy_once() -> None:
    found = timeline([Work("c", 25.0, 5.0), Work("a", 10.0, 10.0), Work("b", 12.0, 4.0), Work("b", 15.0, 6.0)])
    assert (found.wall_us, found.busy_us, found.gaps_us) == (20.0, 16.0, (4.0,))
    assert found.busy == pytest.approx(0.8)
    assert [(share.name, share.count, share.total_us) for share in found.names()] == [
        ("a", 1, 10.0),
        ("b", 2, 10.0),
        ("c", 1, 5.0),
    ]


def test_kernels_of_all_streams_and_nothing_of_the_cpu(tmp_path: Path) -> None:
    events = [
        event("rms_norm_kernel", 100, 10, thread=7),
        event("nvjet_hsh_64x8", 110, 40, thread=7),
        event("Memcpy DtoH", 130, 30, "gpu_memcpy", 8),
        event("cudaGraphLaunch", 0, 500, "cuda_runtime"),
        event("aten::mm", 0, 500, "cpu_op"),
        {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "python"}},
    ]
    path = tmp_path / "rank-0.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    found = read_timeline(path)
    assert (found.wall_us, found.busy_us) == (60.0, 60.0)
    assert {share.name: share.total_us for share in found.groups()} == {
        "matrix products": 40.0,
        "copies": 30.0,
        "norm, rotary, activation": 10.0,
    }
    text = table("here", found)
    assert "busy 0.060 ms (100.0 %)" in text
    assert "gaps: none" in text


def test_an_operator_inside_another_counts_once(tmp_path: Path) -> None:
    events = [
        event("aten::linear", 0, 10, "cpu_op"),
        event("aten::addmm", 0, 9, "cpu_op"),
        event("aten::silu", 12, 3, "cpu_op"),
        event("aten::linear", 11, 5, "cpu_op", thread=2),
    ]
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps({"traceEvents": events}))
    found = read_timeline(path)
    assert sorted(work.name for work in found.work) == ["aten::linear", "aten::linear", "aten::silu"]
    assert (found.wall_us, found.busy_us) == (16.0, 15.0)


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"traceEvents": []}', '{"traceEvents": 3}'])
def test_what_is_no_trace_is_said_in_one_line(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no.json"
    path.write_text(text)
    with pytest.raises(TraceError):
        read_timeline(path)
    assert main(["trace", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("kernel", "group"),
    [
        ("nvjet_tst_128x64_64x8_2x1_v_bz_TNN", "matrix products"),
        ("void cublasLt::splitKreduce_kernel<32, 16>", "matrix products"),
        ("paged_decode_kernel", "attention"),
        ("rms_norm_kernel", "norm, rotary, activation"),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", "all-reduce"),
        ("Memcpy HtoD (Pinned -> Device)", "copies"),
        ("void at::native::reduce_kernel<512, 1, at::native::ArgMaxOps>", "sampling"),
        ("something_else", "other"),
    ],
)
def test_kernels_belong_to_groups(kernel: str, group: str) -> None:
    assert group_of(kernel) == group


def test_our_own_kernels_all_have_a_group() -> None:
    jitted = re.compile(r"^@(?:triton|gluon)\.jit.*?^def (\w+_kernel)\(", re.M | re.S)
    names = [name for path in KERNELS.rglob("*.py") for name in jitted.findall(path.read_text())]
    assert len(names) > 5
    assert [name for name in names if group_of(name) == OTHER] == []


@pytest.mark.gpu
def test_a_recording_has_the_kernels_of_a_gpu(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lightllm_rs.backend.trace import Recording

    matrix = torch.ones(512, 512, device="cuda")
    recording = Recording("cuda")
    for _ in range(5):
        matrix = torch.relu(matrix @ matrix) * 1e-3
    recording.save(tmp_path / "gpu.json")
    found = read_timeline(tmp_path / "gpu.json")
    assert 0 < found.busy <= 1
    assert {share.name: share.count for share in found.groups()}["matrix products"] in (5, 10)  # 10: split-K
    assert len(found.work) >= 15


def test_shapes() -> None:
    assert [(one.rows, one.context, one.prefill) for one in shapes_of("1x256, 32x600+64,+128")] == [
        (1, 256, 0),
        (32, 600, 64),
        (0, 0, 128),
    ]
    assert [one.name for one in shapes_of("32x600+64,+128")] == ["32x600+64", "+128"]


@pytest.mark.parametrize("text", ["", "4", "4x0", "0x64", "x64", "4x64+", "-1x4", "4x64,,"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(SettingsError, match="--trace-shapes"):
        shapes_of(text)


def test_profile_writes_a_trace_a_shape(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--device", "cpu", "--max-num-seqs", "5", "--max-model-len", "256", "--kv-cache-tokens", "1024"]
    flags = [*sizes, "--max-num-batched-tokens", "64", "--trace-dir", str(tmp_path)]
    assert main(["profile", str(folder), *flags, "--trace-shapes", "4x50,2x20+16,+64", "--trace-steps", "1:3"]) == 0
    shown = capsys.readouterr().out
    layers = {}
    for name in ("4x50", "2x20+16", "+64"):
        assert f"{name}, 2 steps" in shown
        found = read_timeline(tmp_path / f"{name}.json")
        assert 0 < found.busy <= 1
        layers[name] = sum("linear" in work.name for work in found.work)
    # Each step has the same matrix products, whatever its rows; two steps were recorded of each kind.
    assert layers["4x50"] == layers["2x20+16"] == layers["+64"] > 0
    assert layers["4x50"] % 2 == 0
    assert main(["trace", str(tmp_path / "+64.json"), "--names", "1"]) == 0
    assert "busy" in capsys.readouterr().out
    for shapes in ("5x50", "+65", "4x255"):
        assert main(["profile", str(folder), *flags, "--trace-shapes", shapes]) == 2
        assert "there is no room for" in capsys.readouterr().err


@pytest.mark.parametrize(("steps", "recorded"), [("1:3", 2), ("2:9", 2)])
def test_a_serving_rank_records_its_steps(tmp_path: Path, folder: Path, steps: str, recorded: int) -> None:
    settings = {"kv_cache_tokens": 1024, "max_num_seqs": 4, "threads": 1, "dtype": "float32"}
    with FakeSupervisor(tmp_path, folder, trace_dir=str(tmp_path), trace_steps=steps, **settings) as supervisor:
        child = supervisor.start_rank(0)
        supervisor.wait_ready()
        _, hello = supervisor.receive()
        assert isinstance(hello, RankHello)
        plans = MockBackend()
        plans.open(Capacity(hello.pages, hello.page_size, hello.slots, hello.vocab, hello.context))
        driver = Driver(plans)
        driver.attach(0, [5, 6, 7])
        driver.prefill(0)
        for _ in range(4):
            supervisor.send(0, driver.message()[0])
            assert isinstance(supervisor.receive()[1], StepResult)
            driver.decode(0)
        supervisor.send(0, RankStop())
        assert child.wait(60) == 0
    found = read_timeline(tmp_path / "rank-0.json")  # "2:9" ends with the rank, after steps 2 and 3
    embeddings = [work for work in found.work if "embedding" in work.name or "index_select" in work.name]
    assert 0 < found.busy <= 1
    assert len(embeddings) % recorded == 0
    assert embeddings
