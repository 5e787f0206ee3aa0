"""Collects the wheels that a host without a package registry needs, into wheelhouse/.

torch and triton (and what they depend on) are expected on the host already: a GPU image carries them, and they are
larger than everything else together.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import pip._vendor.tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
EXPECTED_ON_HOST = ("torch", "triton")
GLIBC_MINORS = range(39, 16, -1)


def requirements() -> list[str]:
    """The package's dependencies without those that the host has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [line.split(";")[0].strip() for line in project["dependencies"]]
    return [name for name in names if not name.startswith(EXPECTED_ON_HOST)]


def main() -> None:
    """Fills wheelhouse/ for the Python version asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="3.12", help="Python version of the host, such as 3.12")
    parser.add_argument("--machine", default="x86_64", choices=["x86_64", "aarch64"])
    options = parser.parse_args()

    house = ROOT / "wheelhouse"
    shutil.rmtree(house, ignore_errors=True)
    house.mkdir()
    wheels = sorted((ROOT / "dist").glob(f"lightllm_rs-*{options.machine}.whl"), key=lambda path: path.stat().st_mtime)
    if not wheels:
        sys.exit(f"dist/ has no wheel for {options.machine}: run make wheel on such a machine first")
    shutil.copy(wheels[-1], house)

    platforms = [f"manylinux_2_{minor}_{options.machine}" for minor in GLIBC_MINORS] + [
        f"manylinux2014_{options.machine}",
        f"manylinux1_{options.machine}",
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(house)]
    command += ["--python-version", options.python, "--implementation", "cp"]
    for platform in platforms:
        command += ["--platform", platform]
    subprocess.run([*command, *requirements()], check=True)
    total = sum(path.stat().st_size for path in house.iterdir())
    sys.stdout.write(f"wheelhouse/: {len(list(house.iterdir()))} wheels, {total / 2**20:.0f} MiB\n")


if __name__ == "__main__":
    main()
