"""The sampler against the plainest possible one, row by row in numpy, float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.naive_sampler import naive_token, naive_uniform, penalised_logits
from lightllm_rs.backend.sampling.sampler import Sampled, pack_rows, sample, sampling_rows
from lightllm_rs.backend.sampling.table import SamplingTable
from lightllm_rs.backend.transfer import Packed
from lightllm_rs.kernels.draw_tokens import truncation as draw_module
from lightllm_rs.kernels.draw_tokens.uniform import signed, uniform
from lightllm_rs.messages.frames import pack_f32, pack_u32
from lightllm_rs.messages.sampling import Sampling
from lightllm_rs.messages.steps import Attach

VOCAB, SLOTS = 50, 6
CPU = torch.device("cpu")
PROMPT = [3, 4, 4, 7, 9]


def run(logits: np.ndarray, requests: dict[int, Sampling], positions: list[int], table: SamplingTable) -> Sampled:
    """Samples logits [n, vocab] for the slots of `requests`, in their order."""
    slots = np.array(list(requests), dtype=np.int64)
    rows = sampling_rows(table, slots, np.array(positions, dtype=np.int64))
    packed = Packed()
    pack_rows(rows, packed)
    packed.send(CPU)
    return sample(torch.from_numpy(logits.copy()), rows, packed, table, torch.zeros(SLOTS, dtype=torch.int64))


def table_of(requests: dict[int, Sampling], vocab: int = VOCAB, history: list[int] = PROMPT) -> SamplingTable:
    table = SamplingTable(SLOTS, vocab, CPU)
    table.attach(
        [
            Attach(slot, len(PROMPT), sampling, pack_u32(history) if sampling.wants_history else None)
            for slot, sampling in requests.items()
        ]
    )
    return table


def random_logits(rows: int, vocab: int = VOCAB, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal((rows, vocab))).astype(np.float32)


def test_uniform_is_the_documented_function() -> None:
    seeds = [0, 1, 2**63, 2**64 - 1, 0x123456789ABCDEF0]
    positions = [0, 1, 1000, 131071]
    for seed in seeds:
        given_seeds = torch.full((len(positions),), signed(seed))
        values = uniform(given_seeds, torch.tensor(positions))
        assert values.dtype == torch.float32
        assert values.tolist() == [naive_uniform(seed, position) for position in positions]


def test_uniform_looks_uniform() -> None:
    count = 100_000
    for values in (
        uniform(torch.full((count,), 7), torch.arange(count)),
        uniform(torch.arange(count), torch.full((count,), 7)),
    ):
        assert values.min() > 0
        assert values.max() < 1
        observed = torch.histc(values, 20, 0, 1)
        expected = count / 20
        assert float(((observed - expected) ** 2 / expected).sum()) < 50  # chi-square, 19 degrees: p < 0.0002
        shifted = float(torch.corrcoef(torch.stack([values[1:], values[:-1]]))[0, 1])
        assert abs(shifted) < 0.02


SAMPLINGS = {
    "plain": Sampling(temperature=1.0),
    "cold": Sampling(temperature=0.01),
    "hot": Sampling(temperature=2.0),
    "top_k": Sampling(temperature=1.5, top_k=3),
    "top_k of one": Sampling(temperature=1.5, top_k=1),
    "top_k of all": Sampling(temperature=1.5, top_k=100),
    "top_p": Sampling(temperature=1.5, top_p=0.7),
    "tiny top_p": Sampling(temperature=1.5, top_p=1e-6),
    "min_p": Sampling(temperature=1.5, min_p=0.2),
    "all of them": Sampling(temperature=1.5, top_k=10, top_p=0.8, min_p=0.05),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_draws(name: str) -> None:
    different = 0
    for seed in range(40):
        sampling = with_seed(SAMPLINGS[name], seed)
        logits = random_logits(1, seed=seed)
        result = run(logits, {2: sampling}, [len(PROMPT) + seed], table_of({2: sampling}))
        expected = naive_token(logits[0], sampling, len(PROMPT) + seed)
        assert int(result.tokens[0]) == expected
        different += expected != int(logits[0].argmax())
    assert different > 0 or name in ("cold", "top_k of one", "tiny top_p")


def with_seed(sampling: Sampling, seed: int) -> Sampling:
    return Sampling(**{name: getattr(sampling, name) for name in sampling.__struct_fields__} | {"seed": seed})


def test_equally_probable_tokens_stay_together() -> None:
    logits = np.zeros((1, VOCAB), dtype=np.float32)
    logits[0, [5, 9, 30]] = 4.0
    drawn = set()
    for seed in range(60):
        sampling = Sampling(temperature=1.0, top_k=2, seed=seed)
        drawn.add(int(run(logits, {0: sampling}, [9], table_of({0: sampling})).tokens[0]))
    assert drawn == {5, 9, 30}


def test_frequencies_follow_the_probabilities() -> None:
    count = 20_000
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]]).expand(count, 4)
    scaled = draw_module.scaled_logits(logits, torch.ones(count, 1))
    tokens = draw_module.draw(scaled, None, uniform(torch.full((count,), 3), torch.arange(count)))
    expected = torch.softmax(logits[0], -1) * count
    observed = torch.bincount(tokens, minlength=4)
    assert float(((observed - expected) ** 2 / expected).sum()) < 20  # chi-square, 3 degrees: p < 0.0002


penalty = st.floats(-2, 2).map(lambda value: round(value, 2))


@given(
    presence=penalty,
    frequency=penalty,
    repetition=st.floats(0.5, 2).map(lambda value: round(value, 2)),
    bias=st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-100, 100, width=32), max_size=5),
    min_tokens=st.integers(0, 3),
    output=st.lists(st.integers(0, VOCAB - 1), max_size=6),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=80, deadline=None)
def test_penalties_bias_and_min_tokens(
    presence: float,
    frequency: float,
    repetition: float,
    bias: dict[int, float],
    min_tokens: int,
    output: list[int],
    seed: int,
) -> None:
    sampling = Sampling(
        temperature=0.0,
        presence=presence,
        frequency=frequency,
        repetition=repetition,
        bias_ids=pack_u32(list(bias)),
        bias_values=pack_f32(list(bias.values())),
        end_ids=pack_u32([1, 2]),
        min_tokens=min_tokens,
        logprobs=3,
    )
    known = PROMPT + output
    table = table_of({1: sampling}, history=known)
    for step in range(4):  # the tokens drawn on the way count too
        logits = random_logits(1, seed=(seed + step) % 2**32)
        result = run(logits, {1: sampling}, [len(known)], table)
        expected = penalised_logits(logits[0], sampling, PROMPT, known[len(PROMPT) :], bias)
        token = int(result.tokens[0])
        assert expected[token] >= expected.max() - 1e-4
        logprobs = expected - np.log(np.exp(expected - expected.max()).sum()) - expected.max()
        assert result.logprobs is not None
        assert abs(float(result.logprobs.chosen[0]) - logprobs[token]) < 1e-4
        assert np.allclose(result.logprobs.values[0].numpy(), np.sort(logprobs)[::-1][:3], atol=1e-4)
        known.append(token)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    requests = {
        0: Sampling(temperature=0.0),
        1: Sampling(temperature=1.0, seed=5),
        2: Sampling(temperature=0.8, seed=6, top_p=0.9),
        3: Sampling(temperature=1.2, seed=7, top_k=5, frequency=0.5),
        4: Sampling(temperature=0.0, repetition=1.3, logprobs=2),
        5: Sampling(temperature=1.0, seed=8, min_p=0.1, min_tokens=4, end_ids=pack_u32([1])),
    }
    logits = random_logits(SLOTS)
    positions = [len(PROMPT) + slot for slot in range(SLOTS)]
    together = run(logits, requests, positions, table_of(requests)).tokens.tolist()
    for slot, sampling in requests.items():
        alone = run(logits[slot : slot + 1], {slot: sampling}, [positions[slot]], table_of({slot: sampling}))
        assert alone.tokens.tolist() == [together[slot]]
    order = [4, 1, 5, 0]
    some = run(
        logits[order], {slot: requests[slot] for slot in order}, [positions[s] for s in order], table_of(requests)
    )
    assert some.tokens.tolist() == [together[slot] for slot in order]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite(bad: float) -> None:
    requests = {slot: Sampling(temperature=float(slot % 2), seed=slot, top_p=0.9) for slot in range(4)}
    logits = random_logits(4)
    expected = run(logits, requests, [9] * 4, table_of(requests))
    logits[1, 7] = logits[2, 8] = bad
    result = run(logits, requests, [9] * 4, table_of(requests))
    assert result.good.tolist() == [True, False, False, True]
    assert result.tokens[[0, 3]].tolist() == expected.tokens[[0, 3]].tolist()
    assert all(0 <= token < VOCAB for token in result.tokens.tolist())


def test_a_slot_forgets_its_last_request() -> None:
    old = Sampling(
        temperature=1.0, seed=1, presence=2.0, bias_ids=pack_u32([4]), bias_values=pack_f32([50.0]), min_tokens=99,
        end_ids=pack_u32([int(random_logits(1).argmax())]), logprobs=2,
    )  # fmt: skip
    table = table_of({0: old})
    logits = random_logits(1)
    assert run(logits, {0: old}, [9], table).tokens.tolist() == [4]
    new = Sampling(temperature=0.0)
    table.attach([Attach(0, 5, new)])
    result = run(logits, {0: new}, [9], table)
    assert result.tokens.tolist() == [int(logits.argmax())]
    assert result.logprobs is None


def test_top_p_needs_no_full_sort_of_a_wide_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose mass is in few tokens, and rows that need nearly all, give what a full sort gives."""
    vocab = 5000
    sharp, flat = random_logits(1, vocab)[0] * 3, random_logits(1, vocab, seed=1)[0] * 0.01
    deep = np.zeros(vocab, dtype=np.float32)
    deep[100] = 8.0
    logits = torch.from_numpy(np.stack([sharp, flat, deep, sharp]))
    scaled = draw_module.scaled_logits(logits, torch.ones(4, 1))
    top_p = torch.tensor([[0.9], [0.9], [0.9], [1.0]])
    quick = draw_module.nucleus_threshold(scaled, top_p)
    monkeypatch.setattr(draw_module, "REACHES", (math.inf,))
    assert torch.equal(quick, draw_module.nucleus_threshold(scaled, top_p))
    assert 0 < int((scaled[0] >= quick[0]).sum()) < 50
    assert int((scaled[1] >= quick[1]).sum()) > vocab // 2
    assert quick[2:].tolist() == [[-8.0], [-math.inf]]
