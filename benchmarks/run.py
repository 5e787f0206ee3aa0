"""`make bench`: the benchmarks that need no GPU, one after the other. They are figures for people, never tests."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = ("router_process.py", "mock_stack.py", "cpu_demo.py")


def processor() -> str:
    """Name of the processor, as the kernel has it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    """Runs them all, or those named on the command line."""
    print(f"machine: {processor()}, Python {platform.python_version()}", flush=True)
    for name in sys.argv[1:] or BENCHMARKS:
        print(f"\n{name}", flush=True)
        subprocess.run([sys.executable, str(HERE / name)], check=True)


if __name__ == "__main__":
    main()
