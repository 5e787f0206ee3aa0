"""Collects the wheels that a host without a package registry needs, into wheelhouse/.

torch and triton (and what they depend on) are expected on the host already: a GPU image carries them, and they are
larger than everything else together.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def missing(house: Path, python: str) -> list[str]:
    """What the wheels in `house` need on that Python and do not find there, torch and triton aside."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    have = {canonicalize_name(wheel.name.split("-")[0]) for wheel in house.glob("*.whl")}
    needs: set[str] = set()
    for wheel in house.glob("*.whl"):
        archive = zipfile.ZipFile(wheel)
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        for line in HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", []):
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate(environment)
            if applies and canonicalize_name(requirement.name) not in have | set(EXPECTED_ON_HOST):
                needs.add(f"{requirement.name}{requirement.specifier}")
    return sorted(needs)


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
    wanted = requirements()
    while (
        wanted
    ):  # pip judges markers by the Python that runs it, so what only the host's Python needs is asked for here
        subprocess.run([*command, *wanted], check=True)
        wanted = missing(house, options.python)
    total = sum(path.stat().st_size for path in house.iterdir())
    sys.stdout.write(f"wheelhouse/: {len(list(house.iterdir()))} wheels, {total / 2**20:.0f} MiB\n")


if __name__ == "__main__":
    main()
