"""Joins the trained eyes beside this file with the demo model's language weights: a folder to serve, in seconds.

python examples/tiny_vl/assemble.py FOLDER
"""

from __future__ import annotations

import argparse
from pathlib import Path

from folder import write_folder
from safetensors.torch import load_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--eyes", type=Path, default=Path(__file__).parent / "eyes.safetensors")
    args = parser.parse_args()
    write_folder(args.folder, load_file(args.eyes))


if __name__ == "__main__":
    main()
