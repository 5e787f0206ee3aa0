"""The example runs as it stands, and a cache manager alone ends as it should."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from lightllm_rs.cache import CacheClient

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "image_cache.py"


def test_the_example_runs() -> None:
    found = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stderr
    assert "5 pictures asked for, 3 encoded" in found.stdout
    assert "the cache manager has ended" in found.stdout


def test_alone_it_ends_with_a_signal_and_leaves_no_arena(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightllm_rs.cache_manager", str(tmp_path), "--size"]
    alone = subprocess.Popen([*command, "0.002"], stdout=subprocess.PIPE, text=True)
    assert alone.stdout is not None
    endpoint = alone.stdout.readline().removeprefix("ready: ").strip()
    client = CacheClient(endpoint, "test")
    assert client.total_bytes >= 1 << 20
    client.close()
    alone.send_signal(signal.SIGINT)
    assert alone.wait(60) == 0
    alone.stdout.close()
    assert not list(Path("/dev/shm").glob(f"*{tmp_path.name}*"))
    refused = subprocess.run([*command, "10000"], capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1
    assert "--mm-cache-size" in refused.stderr
