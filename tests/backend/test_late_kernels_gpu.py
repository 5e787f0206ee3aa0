"""No step that a server may meet waits for a kernel to be compiled: the start has seen to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from helpers.plan_driver import Driver, with_settings
from helpers.tiny_models import make_tiny_model
from helpers.whole_pass import prompt_of
from lightllm_rs.backend.late_kernels import LateKernels
from lightllm_rs.backend.options import BackendOptions
from lightllm_rs.backend.torch_backend import TorchBackend

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SLOTS, STEP_TOKENS = 48, 2048

KINDS = [
    *((rows, [tokens]) for rows in range(9) for tokens in (1, 2, 3, 4, 60, 700, 1500)),
    *((rows, [1400]) for rows in (9, 16, 17, 31, 32, 33, 40)),
    *((rows, [3] * prompts) for rows in (0, 1, 5, 20) for prompts in (2, 3, 4, 16, 17, 24)),
    *((rows, [80] * prompts) for rows in (0, 3, 20) for prompts in (2, 17, 24)),
    *((rows, []) for rows in range(1, SLOTS)),
]
"""(decode rows, new tokens of each prompt) of steps."""


@pytest.fixture(scope="module", params=["llama", "llama of 8B's heads", "fp8"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchBackend]:
    shape = {"hidden_size": 1024, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
    shape |= {"intermediate_size": 2048, "num_hidden_layers": 2, "max_position_embeddings": 4096}
    small = {"num_hidden_layers": 2, "max_position_embeddings": 4096}
    folder = make_tiny_model(tmp_path_factory.mktemp("model"), **(small if request.param == "llama" else shape))
    options = BackendOptions(
        str(folder),
        device="cuda",
        dtype="float32" if request.param == "llama" else "bfloat16",
        quantization="fp8" if request.param == "fp8" else "auto",
        kv_cache_dtype="fp8" if request.param == "fp8" else "auto",
        kv_cache_tokens=48 * 2048,
        slots=SLOTS,
        step_tokens=STEP_TOKENS,
    )
    made = TorchBackend()
    made.init_model(options, lambda *_: None)
    yield made
    made.close()


def test_nothing_is_compiled_late(backend: TorchBackend) -> None:
    while backend.idle():
        pass
    late, driver = LateKernels(), Driver(backend)
    late.watch()
    found: dict[str, list[str]] = {}
    for sampling in (with_settings(), with_settings(temperature=0.7, seed=3, top_p=0.9, top_k=20, logprobs=3)):
        for rows, prompts in KINDS:
            for slot in range(rows):
                driver.attach(slot, prompt_of(slot, 5), sampling)
                driver.prefill(slot)
                if slot % 8 == 7:
                    driver.step()
            driver.step()
            late.names.clear()
            for slot in range(rows):
                driver.decode(slot)
            for at, tokens in enumerate(prompts):
                driver.attach(rows + at, prompt_of(at, tokens), sampling)
                driver.prefill(rows + at)
            driver.step()
            if late.names:
                found[f"{rows} + {prompts}"] = list(late.names)
            for slot in list(driver.slots):
                driver.detach(slot, free=True)
    assert not found
