"""The supervisor's parts that need no process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import shlex
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from lightllm_rs.process.start import ChildStart
from lightllm_rs.settings import ServeSettings
from lightllm_rs.supervisor.announce import curl_line
from lightllm_rs.supervisor.child_process import ChildProcess
from lightllm_rs.supervisor.device import choose_device, http_workers, visible_gpus, with_budgets
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.listener import listen, url
from lightllm_rs.supervisor.model import Model, has_chat_template
from lightllm_rs.supervisor.restarts import Restarts
from lightllm_rs.supervisor.run_dir import RunDirectory, remove_stale
from supervisor.conftest import FakeService


def test_run_directory_is_private_and_goes(tmp_path: Path) -> None:
    run_dir = RunDirectory(tmp_path)
    assert run_dir.path.stat().st_mode & 0o777 == 0o700
    (run_dir.path / "control.sock").touch()
    assert remove_stale(tmp_path) == []
    run_dir.remove()
    assert list(tmp_path.iterdir()) == []


def test_only_unlocked_directories_of_ours_are_stale(tmp_path: Path) -> None:
    live = RunDirectory(tmp_path)
    (tmp_path / "llrs-dead").mkdir()
    (tmp_path / "llrs-dead" / "control.sock").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "llrs-file").touch()
    (tmp_path / "llrs-link").symlink_to(tmp_path / "other")
    second = RunDirectory(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {live.path.name, second.path.name, "other", "llrs-file", "llrs-link"}
    live.remove()
    second.remove()


def test_a_base_that_others_hold_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightllm_rs.supervisor.run_dir.PATIENCE_SECONDS", 0.1)
    (tmp_path / "llrs-dead").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    run_dir = RunDirectory(tmp_path)
    assert (tmp_path / "llrs-dead").exists()  # without the lock nothing is taken for stale
    run_dir.remove()
    os.close(fd)


def test_run_directory_says_where_it_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"no directory for the sockets can be made in .*; set XDG"):
        RunDirectory(tmp_path / "absent")


def test_sockets_that_do_not_fit_are_one_line(fake_service: FakeService, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    service = fake_service({}, long_base=str(long))
    assert service.wait_end() == 1
    assert len(service.stderr) == 1
    assert "set XDG_RUNTIME_DIR or TMPDIR to a shorter directory" in service.stderr[0]
    assert list(long.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
def test_listens_where_it_is_told(host: str, shown: str) -> None:
    with listen(host, 0) as port:
        assert url(port, host, tls=False) == f"http://{shown}:{port.number}"
        socket.create_connection((shown.strip("[]"), port.number)).close()


def test_connections_are_dealt_out_to_all_processes() -> None:
    with listen("127.0.0.1", 0, 3) as port:
        sockets = [socket.socket(fileno=os.dup(descriptor)) for descriptor in port.descriptors()]
        with ExitStack() as stack:
            for listener in sockets:
                stack.enter_context(listener)
            for _ in range(100):
                stack.enter_context(socket.create_connection(("127.0.0.1", port.number)))
            taken = dict.fromkeys(sockets, 0)
            while sum(taken.values()) < 100:  # what is connected may come to its listener a little later
                found, _, _ = select.select(sockets, [], [], 60)
                assert found, taken
                for listener in found:
                    stack.enter_context(listener.accept()[0])
                    taken[listener] += 1
            assert all(taken.values()), "a process got nothing of 100 connections"


@pytest.mark.parametrize("count", [1, 2])
def test_a_port_in_use_is_refused_even_where_it_could_be_shared(count: int) -> None:
    with listen("127.0.0.1", 0, 2) as port, pytest.raises(ServiceError, match="is in use"):
        listen("127.0.0.1", port.number, count)


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (7, 1), (8, 2), (16, 4), (128, 4)])
def test_http_processes_go_by_the_cores(cores: int, workers: int) -> None:
    assert http_workers(cores) == workers


def test_any_address_of_version_6_takes_version_4_too() -> None:
    with listen("::", 0) as port:
        socket.create_connection(("127.0.0.1", port.number)).close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 300])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(ServiceError, match="--host"):
        listen(host, 0)


def test_gpus_are_counted_from_device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(tmp_path) == 0
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(tmp_path) == 2
    for chosen, expected in {"": 0, "-1": 0, "1": 1, "0,1": 2, "0,-1,1": 1, "GPU-abc": 1}.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert visible_gpus(tmp_path) == expected, chosen


def test_the_device_follows_the_settings() -> None:
    assert choose_device(ServeSettings(), gpus=0) == "cpu"
    assert choose_device(ServeSettings(), gpus=1) == "cuda"
    assert choose_device(ServeSettings(device="cpu"), gpus=1) == "cpu"
    assert choose_device(ServeSettings(backend="mock"), gpus=1) == "cpu"
    with pytest.raises(ServiceError, match="--tp 2 needs as many GPUs and 1 can be seen"):
        choose_device(ServeSettings(tp=2), gpus=1)
    with pytest.raises(ServiceError, match="no GPU can be seen"):
        choose_device(ServeSettings(device="cuda"), gpus=0)


@pytest.mark.parametrize(
    ("given", "budget", "chunk"),
    [
        ({}, 512, 256),
        ({"max_num_batched_tokens": 100}, 100, 100),
        ({"chunked_prefill_size": 1000}, 1000, 1000),
        ({"max_num_seqs": 700}, 700, 256),
        ({"max_num_batched_tokens": 2048, "chunked_prefill_size": 64}, 2048, 64),
    ],
)
def test_budgets_that_are_not_given_fit_those_that_are(given: dict[str, int], budget: int, chunk: int) -> None:
    decided = with_budgets(ServeSettings(**given), "cpu")  # type: ignore[arg-type]
    assert (decided.max_num_batched_tokens, decided.chunked_prefill_size) == (budget, chunk)


def test_three_failures_without_a_minute_of_service_are_too_many() -> None:
    restarts = Restarts()
    assert [restarts.give_up(served) for served in (0, 10, 61, 59.9, 0)] == [False, False, False, False, True]


def test_the_curl_line_survives_any_name() -> None:
    model = Model(Path("/m"), 'it\'s a "model"', chats=False)
    line = curl_line("http://127.0.0.1:1", model, has_key=False, certificate=None)
    words = shlex.split(line)
    assert words[1] == "http://127.0.0.1:1/v1/completions"
    assert json.loads(words[-1])["model"] == model.name
    assert "Authorization" not in line


def test_chat_templates_are_seen(tmp_path: Path) -> None:
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[1, 2")
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    assert has_chat_template(tmp_path)


@pytest.mark.parametrize("refused", ["the program", "to watch it"])
def test_a_child_that_cannot_be_started_leaves_nothing(
    refused: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again and again, for as long as the service lasts."""
    pids = []

    def refuse(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    program = "/nonexistent" if refused == "the program" else sys.executable
    settings = ServeSettings(model="none")
    start = ChildStart(
        process="visual-0",
        run_dir=str(tmp_path),
        settings=settings,
        model_path="",
        model_name="",
        device="cpu",
        supervisor=os.getpid(),
    )
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"such file|open files"):
        ChildProcess(start, lambda _: [program, "-c", "import sys; sys.stdin.read()"])
    assert set(os.listdir("/proc/self/fd")) == before
    assert len(pids) == (refused == "to watch it")
    for pid in pids:
        with pytest.raises(ChildProcessError):  # it was reaped
            os.waitpid(pid, os.WNOHANG)
