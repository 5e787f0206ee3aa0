"""Trains the tiny model that sees, from nothing to a folder that can be served.

python examples/tiny_vl/train.py FOLDER

The folder's training.json says how it went; eyes.safetensors has what was trained, for assemble.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from folder import write_folder
from language import tokenizer_json
from model import eyes_of, make_model
from safetensors.torch import load_file, save_file
from see import see
from speak import speak
from tokenizers import Tokenizer
from words import english_vectors

Report = Callable[[int, dict[str, float]], None]


def reporter(name: str, every: int, log: list[dict[str, float]]) -> Report:
    """Keeps the figures of all steps in `log`, and prints their means now and then."""
    began = time.monotonic()

    def report(step: int, figures: dict[str, float]) -> None:
        log.append(figures)
        if (step + 1) % every == 0:
            last = log[-every:]
            means = " ".join(f"{key} {sum(one[key] for one in last) / len(last):.3f}" for key in figures)
            print(f"{name} {step + 1}: {means} ({time.monotonic() - began:.0f} s)", flush=True)

    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--speak-steps", type=int, default=160)
    parser.add_argument("--speak-batch", type=int, default=8, help="scenes a step")
    parser.add_argument("--see-steps", type=int, default=2600)
    parser.add_argument("--see-batch", type=int, default=64, help="pictures a step")
    parser.add_argument("--words", type=Path, help="words.safetensors of an earlier run, to go on with")
    parser.add_argument("--eyes", type=Path, help="eyes.safetensors of an earlier run, to go on with")
    parser.add_argument("--speak-rate", type=float, default=0.01, help="highest learning rate of the words")
    parser.add_argument("--see-rate", type=float, default=1.5e-3, help="highest learning rate of the eyes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_str(json.dumps(tokenizer_json()))
    model = make_model(args.seed)
    log: dict[str, list[dict[str, float]]] = {"speak": [], "see": []}

    args.folder.mkdir(parents=True, exist_ok=True)
    if args.words is None:
        vectors = english_vectors(tokenizer, model.get_input_embeddings().weight)
    else:
        vectors = load_file(args.words)["vectors"]
    model.model.language_model.bfloat16()  # twice as fast, and the weights are bfloat16 anyway
    report = reporter("speak", 10, log["speak"])
    steps, size, rate = args.speak_steps, args.speak_batch, args.speak_rate
    vectors = speak(model, tokenizer, vectors, steps=steps, size=size, rate=rate, seed=args.seed, report=report)
    save_file({"vectors": vectors}, args.folder / "words.safetensors")
    if args.eyes is not None:
        model.load_state_dict({name: weight.float() for name, weight in load_file(args.eyes).items()}, strict=False)
    report = reporter("see", 50, log["see"])
    steps, size, rate = args.see_steps, args.see_batch, args.see_rate
    see(model, vectors, steps=steps, size=size, rate=rate, seed=args.seed, report=report)

    write_folder(args.folder, eyes_of(model))
    save_file(eyes_of(model), args.folder / "eyes.safetensors")
    (args.folder / "training.json").write_text(json.dumps(log) + "\n")


if __name__ == "__main__":
    main()
