"""Questions about a picture and their answers, as the language model gets them."""

from __future__ import annotations

from dataclasses import dataclass, field

from language import IMAGE_ID
from questions import Question
from tokenizers import Tokenizer
from words import SENTENCE

BEFORE, AFTER, ASKED, SAID = "<|im_start|>user\n", "\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"
NOT_TAUGHT = -1


@dataclass
class Conversation:
    """A row of tokens: the picture's, and behind them the questions, each as if it were the only one.

    groups: 0 for the tokens that all see, otherwise the number of the question, whose tokens no other question sees.
    targets: the token that is to follow, or NOT_TAUGHT.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)

    def add(self, ids: list[int], start: int, group: int, targets: list[int]) -> None:
        """Tokens at the positions from `start` on; `targets` are those behind the last ones."""
        self.ids += ids
        self.positions += range(start, start + len(ids))
        self.groups += [group] * len(ids)
        self.targets += [NOT_TAUGHT] * (len(ids) - len(targets)) + targets


def make_conversation(tokenizer: Tokenizer, asked: list[Question]) -> tuple[Conversation, int]:
    """With the place of the picture's first token."""

    def tokens(text: str) -> list[int]:
        return list(tokenizer.encode(text).ids)

    before = tokens(BEFORE)
    shared = before + [IMAGE_ID] * SENTENCE
    made = Conversation()
    made.add(shared, 0, 0, [])
    for number, question in enumerate(asked, start=1):
        prompt, said = tokens(AFTER + question.text + ASKED), tokens(question.answer + SAID)
        made.add(prompt + said[:-1], len(shared), number, said)
    return made, len(before)
