"""Chat templates in MiniJinja against the same in Jinja2, set up as transformers does."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from lightllm_rs.tokenizer import ChatTemplate, ChatTemplateError, TokenizerError

CHAT = [
    {"role": "system", "content": '  Be <brief> & "kind".\n'},
    {"role": "user", "content": "Hé\n\n there 'you'"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nanswer "},
    {"role": "user", "content": "", "name": "zoë"},
]

TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"b": [1, 2.5, None, True], "a": "é<>&'"}}}]

TEMPLATES = {
    "blocks are trimmed": "{% for m in messages %}\n    {% if loop.first %}\n  first{% endif %}"
    "\n{{ m.role }}\n{% endfor %}\n",
    "dashes": "{%- for m in messages -%}\n  {{- m['role'] -}}  \n{%- endfor -%}\n x",
    "string methods": "{{ messages[0].content.strip().upper().replace('BE', 'x').split('>')[-1].rstrip() }}"
    "{{ messages[2]['content'].split('</think>')[-1].lstrip('\\n') }}{{ 'abc'.startswith('a') }}"
    "{{ 'a,b'.split(',') | length }}"
    "{{ 'x'.join(['a', 'b']) }}{{ 'Title case'.title() }}{{ 'abc'.find('c') }}{{ 'a-b'.endswith('-b') }}",
    "slices": "{{ messages[::-1][0].name }}{{ messages[1:] | length }}{{ 'hello'[1:3] }}{{ messages[-1].role }}",
    "namespaces": "{% set ns = namespace(last=0, seen=false) %}{% for m in messages %}"
    "{% if m.role == 'user' and not ns.seen %}"
    "{% set ns.last = loop.index0 %}{% set ns.seen = true %}{% endif %}{% endfor %}{{ ns.last }}",
    "tests": "{% for m in messages %}{{ m.content is string }}{{ m.name is defined }}{{ m.name is not none }}"
    "{{ m is mapping }}{{ messages is iterable }}{{ 'name' in m }}{% endfor %}",
    "json": "{{ tools | tojson }}|{{ tools[0] | tojson(indent=2) }}|{{ messages[1] | tojson }}|{{ 'é\"<>' | tojson }}",
    "filters": "{{ messages | map(attribute='role') | join('/') }}"
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
    "{{ ' a ' | trim }}{{ messages | rejectattr('role', 'equalto', 'user') | list | length }}{{ 'a' | upper }}"
    "{{ missing | default('d') }}{{ [3, 1] | sort | first }}{{ {'a': 1}.items() | list | length }}{{ 'x' | string }}",
    "loops": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ loop.index }}"
    "{{ loop.last }}"
    "{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}{% for i in range(2, 8, 3) %}{{ i }}{% endfor %}",
    "macros": "{% macro turn(m, tail='!') %}<{{ m.role }}>{{ m.content | trim }}{{ tail }}{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{{ turn(m, tail='?') }}{% endfor %}",
    "expressions": "{{ 'a' if add_generation_prompt else 'b' }}{{ 1 + 2 * 3 }}{{ 7 // 2 }}{{ 7 % 4 }}"
    "{{ 'a' ~ 1 ~ none }}"
    "{{ not false and (1 < 2) }}{{ [1, 2] + [3] }}{{ {'a': [1, 'b']} }}{{ true }}{{ 1.0 }}{{ 'x' * 3 }}",
    "undefined": "[{{ nothing }}]{% if nothing %}x{% endif %}{% if messages[0].nothing %}x{% endif %}{{ bos_token }}",
    "dictionaries": "{% for key, value in tools[0].function.parameters.items() %}{{ key }}={{ value }};{% endfor %}"
    "{{ messages[0].get('nope', 'd') }}{{ messages[3].get('name') }}{{ tools[0]['function']['name'] }}",
    "training marks": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}{% else %}"
    "{{ m.role }}{%- generation -%} x {%- endgeneration -%}{% endif %}{% endfor %}",
    "groups": "{% set a, b = 'x', 'y' %}{{ a }}{{ b }}{% for m in messages | reverse %}{{ m.role[0] }}{% endfor %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_as_transformers(name: str) -> None:
    source = TEMPLATES[name]
    for prompt in (True, False):
        theirs, _ = render_jinja_template(
            [CHAT], tools=TOOLS, chat_template=source, add_generation_prompt=prompt, bos_token="<s>"
        )
        ours = ChatTemplate(source, {"bos_token": "<s>"}).render(CHAT, add_generation_prompt=prompt, tools=TOOLS)
        assert ours == theirs[0]


def test_the_date(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ChatTemplate("{{ strftime_now('%d %b %Y') }}", {}).render([])
    assert len(text) == 11


def refusal(source: str, **variables: Any) -> str:
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source, {}).render(CHAT, **variables)
    return str(caught.value)


def test_a_refusal_is_the_templates_own_words() -> None:
    assert refusal("{{ raise_exception('roles must alternate') }}") == "roles must alternate"


def test_errors_are_one_line() -> None:
    for source in (
        "{{ nothing.at.all }}",
        "{{ messages.nope() }}",
        "{{ messages.pop(99) }}",
        "{{ 1 + 'a' }}",
        "{{ messages | tojson(indent=[]) }}",
    ):
        message = refusal(source)
        assert "\n" not in message
        assert len(message) < 600


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_a_template_without_end_is_stopped(source: str) -> None:
    assert refusal(source).startswith("the chat template failed")


def test_what_is_no_template() -> None:
    with pytest.raises(TokenizerError, match="chat template"):
        ChatTemplate("{% for %}", {})


def test_text_of_users_is_no_template() -> None:
    messages = [{"role": "user", "content": "{{ messages }}{% for %}"}]
    assert ChatTemplate("{{ messages[0].content }}", {}).render(messages) == "{{ messages }}{% for %}"


def test_templates_do_not_reach_into_python() -> None:
    for source in (
        "{{ messages.__class__() }}",
        "{{ messages.__getattribute__('__class__') }}",
        "{{ messages[0].__reduce_ex__(2) }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ raise_exception.__globals__.x }}",
        "{% include '/etc/hostname' %}",
        "{% import 'os' as os %}",
    ):
        refusal(source)
    for source in ("{{ messages.__class__ }}", "{{ messages['__class__'] }}", "{{ messages | attr('__class__') }}"):
        assert ChatTemplate(source, {}).render(CHAT) == ""


def test_indentation_is_bounded() -> None:
    text = ChatTemplate("{{ messages | tojson(indent=1000000000) }}", {}).render([{"role": "user"}])
    assert text == "[\n" + " " * 16 + "{\n" + " " * 32 + '"role": "user"\n' + " " * 16 + "}\n]"


def test_a_long_conversation_is_well_within_the_step_limit() -> None:
    source = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content | trim }}{% endif %}{% endfor %}"
    text = ChatTemplate(source, {}).render([{"role": "user", "content": "Hi"}] * 20_000)
    assert len(text) == 40_000


LLAVA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{% endfor %}"
)
LLAVA_NEXT = "{% for message in messages %}[{{ message['content'][0]['text'] }}]{% endfor %}"


def test_templates_that_take_parts_alone() -> None:
    """They would pass over strings without a word."""
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}]
    assert ChatTemplate(LLAVA, {}).render(chat) == "USER: HiASSISTANT: Ho"
    assert ChatTemplate(LLAVA_NEXT, {}).render(chat) == "[Hi][Ho]"
    seen = [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image"}]}]
    assert ChatTemplate(LLAVA, {}).render(seen) == "USER: <image>\nHi"
    assert ChatTemplate("{{ messages[0].content is string }}", {}).render(chat[:1]) == "True"
    both = "{% if messages[0].content is string %}s{{ messages[0].content }}{% else %}p{% endif %}"
    assert ChatTemplate(both, {}).render(chat[:1]) == "sHi"
