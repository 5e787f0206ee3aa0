"""The sampler's definition, one row at a time, in plain Python and float64."""

from __future__ import annotations

import numpy as np

from lightllm_rs.messages.frames import unpack_u32
from lightllm_rs.messages.sampling import Sampling

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def splitmix_finaliser(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def naive_uniform(seed: int, position: int) -> float:
    bits = splitmix_finaliser((splitmix_finaliser(seed) + (position + 1) * GOLDEN) & MASK)
    return ((bits >> 41) + 0.5) / 2**23


def naive_token(logits: np.ndarray, sampling: Sampling, position: int) -> int:
    """The token drawn from one row of final logits."""
    scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
    weights = np.exp(scaled)
    order = np.argsort(-weights, kind="stable")
    keep = np.ones(len(weights), dtype=bool)
    if 0 < sampling.top_k < len(weights):
        keep &= weights >= weights[order[sampling.top_k - 1]]
    if sampling.top_p < 1:
        total = weights[keep].sum()
        mass = 0.0
        for token in order:
            mass += weights[token]
            if mass >= sampling.top_p * total:
                keep &= weights >= weights[token]
                break
    keep &= weights >= sampling.min_p * weights.max()
    weights[~keep] = 0.0
    target = naive_uniform(sampling.seed, position) * weights.sum()
    return int(np.flatnonzero(np.cumsum(weights) > target)[0])


def penalised_logits(
    logits: np.ndarray, sampling: Sampling, prompt: list[int], output: list[int], bias: dict[int, float]
) -> np.ndarray:
    """One row of logits with penalties, bias and the mask of end ids."""
    result = logits.astype(np.float64)
    for token in set(prompt + output):
        result[token] *= sampling.repetition if result[token] <= 0 else 1 / sampling.repetition
    for token in set(output):
        result[token] -= sampling.presence + sampling.frequency * output.count(token)
    for token, value in bias.items():
        result[token] += value
    if len(output) < sampling.min_tokens:
        result[unpack_u32(sampling.end_ids)] = -np.inf
    return result
