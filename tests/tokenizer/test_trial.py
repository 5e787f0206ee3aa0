"""Chat templates that would fill the memory are found out before the server starts."""

from __future__ import annotations

import asyncio

import pytest

from lightllm_rs.tokenizer import ChatTemplate, TokenizerError
from lightllm_rs.tokenizer.trial import try_template

DOUBLING = (
    '{% set ns = namespace(s="aaaaaaaaaaaaaaaa") %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}'
    "{{ ns.s }}"
)


def attempt(source: str) -> None:
    asyncio.run(try_template(ChatTemplate(source, {"bos_token": "<s>"})))


@pytest.mark.parametrize(
    "source",
    [
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
        "{{ raise_exception('a system message must come first') }}",
    ],
)
def test_templates_that_work(source: str) -> None:
    attempt(source)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (DOUBLING, "memory or time|fuel"),  # minijinja counts letters as steps from 3.1 on
        (DOUBLING.replace("40", "20"), "letters of one short message"),
        ("{{ messages.nope() }}", "the chat template failed"),
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "fuel"),
    ],
)
def test_templates_that_do_not(source: str, says: str) -> None:
    with pytest.raises(TokenizerError, match=says) as caught:
        attempt(source)
    assert "--chat-template" in str(caught.value)
    assert "\n" not in str(caught.value)
