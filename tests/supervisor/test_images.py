"""Cache manager and visual servers as the supervisor sees them, with fake children."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.running_service import RunningService
from lightllm_rs.settings import ServeSettings
from lightllm_rs.settings.fields import Field, fields
from lightllm_rs.supervisor.device import check_text, check_visual, visual_gpus
from lightllm_rs.supervisor.errors import ServiceError
from lightllm_rs.supervisor.run_dir import ARENAS, RunDirectory, arena_name, remove_arenas, remove_stale
from supervisor.conftest import FakeService
from supervisor.test_recovery import ask, wait_for_answer

TEXT = {"http-0", "router", "backend-0", "metric", "health"}
WITH_ARENA = {"cache": ["arena"]}


def arenas_of(service: RunningService) -> set[str]:
    """Names of the arenas of a service that runs."""
    (run_dir,) = service.base.iterdir()
    start = arena_name(run_dir, 0)[:-1]
    return {path.name.removeprefix(start) for path in ARENAS.glob(start + "*")}


def test_only_a_model_that_sees_has_them(fake_service: FakeService) -> None:
    service = fake_service()
    service.wait_ready()
    assert set(service.children()) == TEXT


def test_a_new_cache_manager_has_a_new_epoch_and_nobody_else_restarts(fake_service: FakeService) -> None:
    service = fake_service(WITH_ARENA, sees=True, visual_dp=2)
    url = service.wait_ready()
    before = {name: child.pid for name, child in service.children().items()}
    assert set(before) == TEXT | {"cache", "visual-0", "visual-1"}
    wait_for_answer(service, url, "up 0 cache-0.sock")
    assert arenas_of(service) == {"0"}
    seen = set()
    service.kill("cache")

    def replaced() -> bool:
        seen.add(ask(url))
        return "up 0 cache-1.sock" in seen

    service.wait_for(replaced)
    assert seen <= {"up 0 cache-0.sock", "up 0 no cache", "up 0 cache-1.sock"}
    assert arenas_of(service) == {"1"}
    after = {name: child.pid for name, child in service.children().items()}
    assert {name for name in before if before[name] != after[name]} == {"cache"}
    assert service.end() == 0
    service.assert_nothing_left()


@pytest.mark.parametrize("name", ["visual-0", "http-0"])
def test_its_users_restart_alone_and_hear_of_it(fake_service: FakeService, name: str) -> None:
    service = fake_service(sees=True)
    url = service.wait_ready()
    former = service.kill(name)
    service.wait_for(service.restarted(name, former))
    wait_for_answer(service, url, "up 0 cache-0.sock")
    assert service.end() == 0


def news_of_images(service: RunningService) -> list[str]:
    """What the HTTP process was told, in order."""
    return [line for line in service.stderr if line in ("images down", "images up")]


@pytest.mark.parametrize("name", ["cache", "visual-0"])
def test_they_come_back_for_ever_and_text_goes_on(fake_service: FakeService, name: str) -> None:
    service = fake_service(WITH_ARENA, sees=True)
    url = service.wait_ready()
    untouched = {other: child.pid for other, child in service.children().items() if other != name}
    for death, pause in enumerate(("", " in 1 s", " in 2 s", " in 4 s")):
        if name == "cache":
            wait_for_answer(service, url, f"up 0 cache-{death}.sock")
        former = service.kill(name)
        end = f"{name.replace('-', ' ')} was killed by SIGKILL; starting it again{pause}"
        service.wait_for(lambda end=end: any(line.endswith(end) for line in service.stderr))
        service.wait_for(service.restarted(name, former))
        told = ["images down", "images up"] * death  # a first death is over in a moment
        service.wait_for(lambda told=told: news_of_images(service) == told)
    wait_for_answer(service, url, "up 0 cache-4.sock" if name == "cache" else "up 0 cache-0.sock")
    after = {other: child.pid for other, child in service.children().items()}
    assert untouched.items() <= after.items()
    assert service.end() == 0
    service.assert_nothing_left()


def test_one_visual_server_is_enough(fake_service: FakeService, tmp_path: Path) -> None:
    children = {f"visual-{number}": [f"once {tmp_path / str(number)}"] for number in range(2)}
    service = fake_service(children, sees=True, visual_dp=2)
    service.wait_ready()
    service.kill("visual-0")
    # Its last words may be late on a busy machine: then the line has others in their place.
    again = re.compile(r"visual 0.*; starting it again in 2 s$")
    service.wait_for(lambda: any(again.search(line) for line in service.stderr))
    assert news_of_images(service) == []
    service.kill("visual-1")
    service.wait_for(lambda: news_of_images(service)[:1] == ["images down"])
    (tmp_path / "0").unlink()
    service.wait_for(lambda: news_of_images(service)[-1:] == ["images up"])
    assert service.end() == 0


def test_a_start_ends_with_the_words_of_a_visual_server_that_fails(fake_service: FakeService) -> None:
    service = fake_service({"visual-0": ["words the GPU is full"]}, sees=True)
    assert service.wait_end() == 1
    assert service.stderr[-1] == "lightllm-rs: visual 0: the GPU is full"
    service.assert_nothing_left()


def test_one_that_is_silent_is_killed_and_started_again(fake_service: FakeService) -> None:
    service = fake_service(sees=True, visual_stall_seconds=0.5)  # a fake child says nothing
    service.wait_ready()
    killed = "visual-0 has said nothing for"
    service.wait_for(lambda: any(killed in line and line.endswith("and is killed") for line in service.stderr))
    service.wait_for(lambda: "visual-0" in service.children())
    assert service.end() == 0
    service.assert_nothing_left()


def test_a_backend_measures_once_the_visual_servers_have_their_memory(fake_service: FakeService) -> None:
    children = {"backend-0": ["measures"], "backend-1": ["print unmeasured"], "visual-0": ["holds 5"]}
    service = fake_service(children, sees=True, gpus=3, backend="torch", device="cuda", tp=2, visual_gpu=0, visual_dp=1)
    service.wait_ready()
    assert any("measured 0.00 (5 bytes for images, 0 missing)" in line for line in service.stdout)
    service.kill("backend-1")  # the memory is still taken when the backends start again
    service.wait_for(lambda: any("serve again" in line for line in service.stderr))
    assert service.end() == 0


def test_the_engine_starts_again_without_a_visual_server_that_never_comes_back(
    fake_service: FakeService, tmp_path: Path
) -> None:
    children = {"backend-0": ["measures"], "visual-0": [f"once {tmp_path / 'lived'}", "holds 5"]}
    service = fake_service(children, sees=True, gpus=1, backend="torch", device="cuda")
    url = service.wait_ready()
    service.kill("visual-0")
    service.wait_for(lambda: news_of_images(service))
    service.kill("backend-0")
    wait_for_answer(service, url, "up 1")
    assert "images up" not in news_of_images(service)
    assert service.end() == 0


def test_a_killed_supervisor_leaves_no_arena_behind_for_long(fake_service: FakeService) -> None:
    first = fake_service(WITH_ARENA, sees=True)
    first.wait_ready()
    (run_dir,) = first.base.iterdir()
    assert (ARENAS / arena_name(run_dir, 0)).exists()
    first.end(signal.SIGKILL)
    first.assert_processes_end(60.0)
    with contextlib.closing(RunDirectoryOf(first.base)) as other:
        assert other.path.exists()
        assert not (ARENAS / arena_name(run_dir, 0)).exists()


class RunDirectoryOf(RunDirectory):
    """A run directory that `contextlib.closing` removes."""

    def close(self) -> None:
        self.remove()


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    """A run directory's path, with three arenas of its own and two files that only look like some."""
    run_dir = tmp_path / f"llrs-{os.getpid()}x"
    made = [arena_name(run_dir, epoch) for epoch in (0, 1, 12)]
    made += [arena_name(run_dir, 0) + "-other", arena_name(Path(f"{run_dir}y"), 0)]
    with contextlib.ExitStack() as stack:
        for name in made:
            file = stack.enter_context((ARENAS / name).open("x"))
            fcntl.flock(file, fcntl.LOCK_EX)  # or a cache manager that starts beside this test would remove it
        yield run_dir
        for name in made:
            (ARENAS / name).unlink(missing_ok=True)


def test_only_arenas_of_the_run_directory_are_removed(files: Path) -> None:
    remove_arenas(files, 1)
    assert not (ARENAS / arena_name(files, 1)).exists()
    assert (ARENAS / arena_name(files, 12)).exists()
    files.mkdir()
    assert remove_stale(files.parent) == [files]
    assert not (ARENAS / arena_name(files, 12)).exists()
    assert (ARENAS / (arena_name(files, 0) + "-other")).exists()
    assert (ARENAS / arena_name(Path(f"{files}y"), 0)).exists()


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [
        (ServeSettings(), [0]),
        (ServeSettings(tp=2, visual_dp=3), [0, 1, 0]),
        (ServeSettings(tp=2, visual_gpu=2, visual_dp=2), [2, 3]),
    ],
)
def test_gpus_of_visual_servers(settings: ServeSettings, gpus: list[int]) -> None:
    assert visual_gpus(settings) == gpus
    check_visual(settings, "cuda", max(gpus) + 1)
    if settings.visual_gpu >= 0:
        with pytest.raises(ServiceError, match=r"needs GPU 3 and 3 can be seen"):
            check_visual(settings, "cuda", max(gpus))
        with pytest.raises(ServiceError, match="needs --device cuda"):
            check_visual(settings, "cpu", 0)


def test_a_model_of_text_has_no_use_for_settings_of_images(fake_service: FakeService) -> None:
    service = fake_service(backend="torch", max_images=16, visual_dp=2)  # the first is the default, and was given
    assert service.wait_end() == 1
    assert service.stderr[-1] == (
        "lightllm-rs: --visual-dp, --max-images are for models that take images, and this one takes none: "
        "leave them out"
    )


@pytest.mark.parametrize(
    "field", [field for field in fields() if field.group == "Images"], ids=lambda field: field.name
)
def test_each_setting_of_images_is_refused_where_no_model_sees(field: Field) -> None:
    for backend, who in (("torch", "this one"), ("mock", "--backend mock")):
        settings = ServeSettings(backend=backend)
        check_text(settings, {"model": "MODEL", "port": "LIGHTLLM_PORT"})
        with pytest.raises(ServiceError) as error:
            check_text(settings, {"model": "MODEL", field.name: field.environment})
        assert str(error.value) == (
            f"{field.environment} is for models that take images, and {who} takes none: leave it out"
        )
