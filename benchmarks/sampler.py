"""Microseconds of drawing tokens on a GPU, from a captured graph, for several numbers of rows and kinds of settings.

python benchmarks/sampler.py [--vocab 128256] [--rows 1,64,256]
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from lightllm_rs.kernels.draw_tokens import draw_tokens

KINDS = {
    "greedy": (0.0, 1.0, 0),
    "temperature": (1.0, 1.0, 0),
    "top_p 0.9": (0.7, 0.9, 0),
    "top_k 50": (1.0, 1.0, 50),
    "both": (1.0, 0.95, 40),
}
"""Temperature, top_p and top_k of all rows."""

REPEATS = 20


def microseconds(logits: Tensor, kind: str, limited: bool) -> float:
    """Of one draw for all rows."""
    rows, device = logits.shape[0], logits.device
    temperature, top_p, top_k = KINDS[kind]
    floats = torch.tensor([[temperature, top_p, 0.0]] * rows, device=device)
    integers = torch.tensor([[row, top_k] for row in range(rows)], device=device)
    slots = torch.arange(rows, device=device)
    last = torch.zeros(rows, dtype=torch.int64, device=device)

    def draw() -> Tensor:
        return draw_tokens(logits, slots, slots, floats, integers, last, limited=limited)

    draw()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(REPEATS):
            draw()
    graph.replay()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    graph.replay()
    end.record()
    end.synchronize()
    return 1e3 * float(start.elapsed_time(end)) / REPEATS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=128256)
    parser.add_argument("--rows", default="1,64,256")
    options = parser.parse_args()
    print(f"{'us':>12}", *(f"{kind:>12}" for kind in KINDS), "    greedy, limits looked at")
    for rows in map(int, options.rows.split(",")):
        logits = (3 * torch.randn(rows, options.vocab, device="cuda")).to(torch.bfloat16)
        found = [microseconds(logits, kind, KINDS[kind][1:] != (1.0, 0)) for kind in KINDS]
        found.append(microseconds(logits, "greedy", True))
        print(f"{rows:>9} rows", *(f"{value:12.1f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
