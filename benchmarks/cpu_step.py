"""Seconds of one decode step of the model alone (no server), for several batch sizes.

    python benchmarks/cpu_step.py [MODEL] [--dtype bfloat16] [--rows 1,16] [--context 200] [--threads 2] [--profile]

Prints the median and the CPU time of a step; the rows' lengths differ a little, as those of real requests do.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from lightllm_rs.checkpoint import locate
from lightllm_rs.layers.batch import Batch
from lightllm_rs.layers.kv_cache import KvCache
from lightllm_rs.models import CausalLM, load_model

PAGE_SIZE = 16


def decode_batch(rows: int, context: int, vocab: int) -> tuple[Batch, int]:
    """A batch of `rows` decode rows of about `context` tokens, and the pages that it needs."""
    lengths = (context - 3 * torch.arange(rows) % (context // 2 + 1)).clamp_min(1).to(torch.int32)
    width = -(-context // PAGE_SIZE)
    table = torch.randperm(rows * width).view(rows, width).to(torch.int32)
    last = lengths.long() - 1
    slots = table.long().gather(1, (last // PAGE_SIZE)[:, None]).squeeze(1) * PAGE_SIZE + last % PAGE_SIZE
    batch = Batch(
        token_ids=torch.randint(0, vocab, (rows,)),
        positions=last,
        slot_pages=slots,
        output_rows=torch.arange(rows),
        decode_rows=rows,
        decode_page_table=table,
        decode_lengths=lengths,
    )
    return batch, rows * width


def step(model: CausalLM, batch: Batch, kv: KvCache) -> Tensor:
    batch.shared.clear()  # a server makes a new batch for each step
    return model.logits(model(batch, kv)).argmax(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--dtype", default="float32,bfloat16")
    parser.add_argument("--rows", default="1,4,16")
    parser.add_argument("--context", type=int, default=200)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    checkpoint = locate(args.model)
    for name in args.dtype.split(","):
        dtype = getattr(torch, name)
        begin = time.perf_counter()
        model = load_model(checkpoint, dtype=dtype, device=torch.device("cpu"))
        print(f"{name}: loaded in {time.perf_counter() - begin:.1f} s, {args.threads} threads")
        layers, heads, head_dim = model.kv_shape()
        for rows in map(int, args.rows.split(",")):
            batch, pages = decode_batch(rows, args.context, checkpoint.config().vocab)
            kv = KvCache(layers, pages, PAGE_SIZE, heads, head_dim, dtype, "cpu")
            with torch.inference_mode():
                for _ in range(3):
                    step(model, batch, kv)
                walls, busy = [], time.process_time()
                for _ in range(args.steps):
                    begin = time.perf_counter()
                    step(model, batch, kv)
                    walls.append(time.perf_counter() - begin)
                busy = (time.process_time() - busy) / args.steps
                median = sorted(walls)[len(walls) // 2]
                print(
                    f"  {rows:3d} rows: median {median * 1e3:6.1f} ms, best {min(walls) * 1e3:6.1f} ms, "
                    f"CPU {busy * 1e3:6.1f} ms, {rows / median:6.0f} tokens/s"
                )
                if args.profile:
                    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                        for _ in range(5):
                            step(model, batch, kv)
                    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=22))


if __name__ == "__main__":
    main()
