"""Finding stop strings in a text that comes in pieces: one pass, whatever their number (Aho and Corasick, 1975)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class StopSet:
    """The automaton of some stop strings; shared by all choices of a request.

    A state is a beginning of one of the strings. `next[state]` has the letters that continue it, `fail[state]` the
    longest other beginning that the text also ends with, `depth[state]` its length, and `found[state]` the length of
    the longest string that ends there (0 for none).

    Args:
        strings: at least one, none of them empty.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self.next: list[dict[str, int]] = [{}]
        self.fail = [0]
        self.depth = [0]
        self.found = [0]
        for string in strings:
            assert string, "an empty stop string would stop everything"
            self._insert(string)
        self.first = frozenset(self.next[0])
        queue = deque(self.next[0].values())
        while queue:
            state = queue.popleft()
            for letter, child in self.next[state].items():
                other = self.fail[state]
                while other and letter not in self.next[other]:
                    other = self.fail[other]
                self.fail[child] = self.next[other].get(letter, 0)
                self.found[child] = self.found[child] or self.found[self.fail[child]]
                queue.append(child)

    def _insert(self, string: str) -> None:
        state = 0
        for letter in string:
            child = self.next[state].get(letter)
            if child is None:
                child = len(self.next)
                self.next[state][letter] = child
                self.next.append({})
                self.fail.append(0)
                self.depth.append(self.depth[state] + 1)
                self.found.append(0)
            state = child
        self.found[state] = len(string)


class StopMatcher:
    """Passes a text through, up to the first stop string.

    Text that could be the beginning of a stop string is held back, so nothing of one is ever let out.

    Args:
        include: the stop string itself is let out too.
    """

    __slots__ = ("_held", "_include", "_set", "_state", "stopped")

    def __init__(self, stops: StopSet, include: bool = False) -> None:
        self._set = stops
        self._include = include
        self._state = 0
        self._held = ""
        self.stopped: str | None = None

    def push(self, text: str) -> str:
        """What of the text so far is certain to come before any stop string; `stopped` is set when one was found."""
        automaton = self._set
        if not self._state and automaton.first.isdisjoint(text):
            return text
        state, following, fail, found = self._state, automaton.next, automaton.fail, automaton.found
        for position, letter in enumerate(text):
            while state and letter not in following[state]:
                state = fail[state]
            state = following[state].get(letter, 0)
            if found[state]:
                seen = self._held + text[: position + 1]
                start = len(seen) - found[state]
                self.stopped = seen[start:]
                self._held, self._state = "", 0
                return seen if self._include else seen[:start]
        seen = self._held + text
        keep = automaton.depth[state]
        self._state = state
        self._held = seen[len(seen) - keep :]
        return seen[: len(seen) - keep]

    def finish(self) -> str:
        """What was held back, once no more text comes."""
        held, self._held, self._state = self._held, "", 0
        return held
