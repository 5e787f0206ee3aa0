"""Images through the whole service on a GPU that the visual server shares with the backend."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from e2e.test_images import PROMPTS, Seeing, assert_as_transformers, content
from helpers.seeing_service import Yardstick, make_seeing_folder
from server import serving

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=["internvl", "qwen3_vl"])
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeing]:
    kind: str = request.param
    folder = make_seeing_folder(tmp_path_factory.mktemp("models") / kind, kind)
    flags = ("--device", "cuda", "--dtype", "float32", "--mm-cache-size", "0.03", "--mem-fraction", "0.3")
    with serving(str(folder), *flags) as server:
        yield Seeing(server, Yardstick(folder, kind))


@pytest.mark.parametrize("name", PROMPTS)
def test_answers_are_those_of_transformers(seeing: Seeing, name: str) -> None:
    prompt, pictures = seeing.yardstick.chat(PROMPTS[name])
    ids = seeing.yardstick.ids(prompt, pictures)
    for _ in range(2):
        with seeing.client() as client:
            answer = client.chat.completions.create(
                model=seeing.yardstick.kind,
                messages=[{"role": "user", "content": content(PROMPTS[name])}],
                temperature=0,
                max_tokens=5,
                logprobs=True,
                extra_body={"ignore_eos": True},
            )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == len(ids)
        assert answer.choices[0].logprobs is not None
        assert_as_transformers(seeing, ids, pictures, answer.choices[0].logprobs.content)


def test_the_sum_says_what_the_tower_has(seeing: Seeing) -> None:
    table = seeing.server.log.read_text()
    held = re.search(r"largest batches [0-9.]+ \(.*, ([0-9.]+) GiB\)", table)
    assert held is not None, table
    assert float(held[1]) > 0
    assert f" + {held[1]} visual servers + " in table
