"""Chat templates: Jinja as `transformers` renders it, in MiniJinja, with a bound on the work of one rendering."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import minijinja

from lightllm_rs.tokenizer.errors import ChatTemplateError, TokenizerError

FUEL = 5_000_000
"""MiniJinja instructions of one rendering; the template of Qwen3 takes about 70 for each message."""

MAX_INDENT = 16
"""Widest indentation of JSON."""

MAX_MESSAGE = 500
"""Longest message of a template that is passed on."""

_GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
_NAME = "chat_template"
_PROBE = "probe-6f1c"


class TemplateRefusal(ChatTemplateError):
    """The template called `raise_exception`: it works, and wants another conversation."""


def _raise_exception(message: Any) -> None:
    raise TemplateRefusal(str(message)[:MAX_MESSAGE])


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Sequence[str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers: no escapes for HTML, and Python's separators."""
    pair = (separators[0], separators[1]) if separators is not None else None
    width = min(max(indent, 0), MAX_INDENT) if indent is not None else None
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=width, separators=pair, sort_keys=sort_keys)


def _plain(match: re.Match[str]) -> str:
    """`{% generation %}` marks the assistant's text for training; for rendering it is a block without effect."""
    return f"{{%{match[1]} {'endif' if match[2] else 'if true'} {match[3]}%}}"


class ChatTemplate:
    """A chat template of a model or of the operator, never of a request.

    Args:
        source: the Jinja text.
        variables: names that the template sees in each rendering, such as `bos_token`.

    Attributes:
        source, variables: as given.
        knows_developer: it treats the role "developer" as such.

    Raises:
        TokenizerError: the text is no template.
    """

    def __init__(self, source: str, variables: Mapping[str, Any]) -> None:
        self.source = source
        self.variables = dict(variables)
        self.knows_developer = "developer" in source
        self._environment = minijinja.Environment(
            filters={"tojson": _tojson},
            globals={"raise_exception": _raise_exception, "strftime_now": _strftime_now},
            fuel=FUEL,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_escape_callback=lambda _: False,
        )
        try:
            self._environment.add_template(_NAME, _GENERATION.sub(_plain, source))
        except minijinja.TemplateError as error:
            raise TokenizerError(f"the chat template cannot be read: {_first_line(error)}") from None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True, **variables: Any
    ) -> str:
        """The prompt of a conversation. `variables` are those of `chat_template_kwargs` that are allowed.

        Content that is a string becomes a list of one part for a template that takes nothing else.
        Raises ChatTemplateError with the template's own message, or MiniJinja's.
        """
        if any(isinstance(message.get("content"), str) for message in messages) and self._takes_parts_alone:
            messages = [_in_parts(message) for message in messages]
        return self._rendered(messages, add_generation_prompt, variables)

    @cached_property
    def _takes_parts_alone(self) -> bool:
        """Whether content must be a list of parts. Such a template, as LLaVA's are, passes over a string in silence.

        Worked out by rendering, and at the first render, not before: what a template may cost is tried elsewhere.
        """

        def shows(content: Any) -> bool:
            try:
                return _PROBE in self._rendered([{"role": "user", "content": content}], True, {})
            except ChatTemplateError:
                return False

        return not shows(_PROBE) and shows([{"type": "text", "text": _PROBE}])

    def _rendered(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, variables: Mapping[str, Any]
    ) -> str:
        names = {**self.variables, "tools": None, "documents": None, **variables}
        try:
            return self._environment.render_template(
                _NAME, messages=messages, add_generation_prompt=add_generation_prompt, **names
            )
        except TemplateRefusal:
            raise
        except minijinja.TemplateError as error:
            raise ChatTemplateError(f"the chat template failed: {_first_line(error)}") from None
        except Exception as error:  # of a filter, or of a list's or a dictionary's method: whatever Python raises there
            raise ChatTemplateError(f"the chat template failed: {error}"[:MAX_MESSAGE]) from None


def _in_parts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message


def _first_line(error: minijinja.TemplateError) -> str:
    return str(error).partition("\n")[0][:MAX_MESSAGE]
