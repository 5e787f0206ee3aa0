"""Host time of a decode step of the torch backend on a GPU, and wall time of steps with two under way.

    python benchmarks/host_step.py MODEL [--rows 1,64,256,512] [--profile]

Weights are random. The host's part is what `launch` takes while the device has nothing else to do.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time

import torch

from lightllm_rs.backend.torch_backend import TorchBackend
from lightllm_rs.profile.backend import opened
from lightllm_rs.profile.steps import Steps
from lightllm_rs.settings import ServeSettings

STEPS = 100


def _phase(name: str, seconds: float, detail: str) -> None:
    print(f"{name:>10} {seconds:6.2f} s  {detail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", default="1,64,256,512")
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    rows = [int(part) for part in options.rows.split(",")]
    settings = ServeSettings(model=options.model, load_format="dummy", max_num_seqs=max(rows) + 1, max_model_len=4096)
    with opened(settings, _phase) as (backend, _):
        assert isinstance(backend, TorchBackend)
        steps = Steps(backend)
        for count in rows:
            steps.hold(count, options.context, 3 * STEPS + 10)
            for _ in range(5):
                steps.launch(0).outcome()
            launches, waits = [], []
            profile = cProfile.Profile()
            for _ in range(STEPS):
                torch.cuda.synchronize()
                began = time.perf_counter()
                launched = steps.launch(0)
                launches.append(time.perf_counter() - began)
                launched.outcome()
                waits.append(time.perf_counter() - began)
            if options.profile:
                profile.enable()
                for _ in range(STEPS):
                    steps.launch(0).outcome()
                profile.disable()
                pstats.Stats(profile).sort_stats("tottime").print_stats(18)
            began = time.perf_counter()
            under_way = steps.launch(0)
            for _ in range(STEPS - 1):
                following = steps.launch(0)
                under_way.outcome()
                under_way = following
            under_way.outcome()
            wall = (time.perf_counter() - began) / STEPS
            print(
                f"{count:>5} rows: launch {1e6 * statistics.median(launches):6.0f} us, "
                f"alone {1e6 * statistics.median(waits):6.0f} us, two under way {1e6 * wall:6.0f} us",
                flush=True,
            )


if __name__ == "__main__":
    main()
