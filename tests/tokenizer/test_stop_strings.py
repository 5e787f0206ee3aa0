"""The search for stop strings, against a naive search in the whole text."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightllm_rs.tokenizer import StopMatcher, StopSet

LETTERS = "ab"


def naive(text: str, stops: list[str]) -> tuple[str, str | None]:
    """The text before the stop string that ends first; of several that end there, the longest."""
    for end in range(1, len(text) + 1):
        found = [stop for stop in stops if text[:end].endswith(stop)]
        if found:
            longest = max(found, key=len)
            return text[: end - len(longest)], longest
    return text, None


def pushed(pieces: list[str], stops: list[str], include: bool = False) -> tuple[str, str | None]:
    """The same, with the text in pieces; nothing that was let out may be taken back."""
    matcher = StopMatcher(StopSet(stops), include)
    out = ""
    for piece in pieces:
        out += matcher.push(piece)
        if matcher.stopped is not None:
            return out, matcher.stopped
    return out + matcher.finish(), None


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.text(LETTERS, max_size=6), max_size=12),
    st.lists(st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=5),
)
@example(["aab", "aab", "b"], ["aabb", "abaab"])
@example(["a"] * 10, ["aaaa", "aaaaaa"])
@example(["b", "a"], ["bb", "ba"])
def test_as_the_naive_search(pieces: list[str], stops: list[str]) -> None:
    assert pushed(pieces, stops) == naive("".join(pieces), stops)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(LETTERS, max_size=4), max_size=8), st.text(LETTERS, min_size=1, max_size=4))
def test_included(pieces: list[str], stop: str) -> None:
    text, found = naive("".join(pieces), [stop])
    assert pushed(pieces, [stop], include=True) == (text + (found or ""), found)


def test_no_more_is_held_back_than_could_be_a_beginning() -> None:
    matcher = StopMatcher(StopSet(["</end>", "\n\n\n"]))
    assert matcher.push("one <") == "one "
    assert matcher.push("b> two\n") == "<b> two"
    assert matcher.push("\nx") == "\n\nx"
    assert matcher.push("</en") == ""
    assert matcher.finish() == "</en"


def test_work_is_linear() -> None:
    """A text that makes a naive search compare each of its letters with the whole stop string."""
    stop = "a" * 1000 + "b"
    matcher = StopMatcher(StopSet([stop]))
    text = "a" * 200_000
    out = "".join(matcher.push(text[at : at + 7]) for at in range(0, len(text), 7)) + matcher.finish()
    assert out == text
