"""One rendering of a chat template in a process of its own, with bounds on memory and time.

A step limit bounds a template's instructions and not its bytes: forty doublings of a string fill any memory.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from asyncio.subprocess import DEVNULL, PIPE

from lightllm_rs.tokenizer.chat_template import ChatTemplate, TemplateRefusal
from lightllm_rs.tokenizer.errors import ChatTemplateError, TokenizerError

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 2
WALL_SECONDS = 60.0
MAX_LETTERS = 1 << 20
"""Longest prompt that a template may make of one short message."""

_MESSAGES = [{"role": "user", "content": "Hi"}]


async def try_template(template: ChatTemplate) -> None:
    """Renders one short message. Raises TokenizerError if the template fails, or takes too much memory or time."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lightllm_rs.tokenizer.trial", stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    given = json.dumps([template.source, template.variables]).encode()
    try:
        said, _ = await asyncio.wait_for(child.communicate(given), WALL_SECONDS)
    except asyncio.TimeoutError:
        child.kill()
        await child.wait()
        said = b""
    if said == b"ok":
        return
    why = said.decode(errors="replace") or "the chat template takes too much memory or time for one short message"
    raise TokenizerError(f"{why}: give another one with --chat-template")


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + CPU_SECONDS, spent + CPU_SECONDS))
    source, variables = json.load(sys.stdin)
    try:
        letters = len(ChatTemplate(source, variables).render(_MESSAGES))
    except TemplateRefusal:  # it wants another conversation, such as one with a system message
        letters = 0
    except (ChatTemplateError, TokenizerError) as error:
        sys.stdout.write(" ".join(str(error).split()))
        return
    too_long = f"the chat template makes {letters} letters of one short message"
    sys.stdout.write("ok" if letters <= MAX_LETTERS else too_long)


if __name__ == "__main__":
    _main()
