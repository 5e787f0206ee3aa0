"""Text that is made in Rust from the router's frames, against `tokenizers`' own decoding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.tiny_models import tiny_tokenizer
from lightllm_rs._core import FrameError, StopSet, TextOutput, TextStreams
from lightllm_rs.messages.frames import encode, pack_u32
from lightllm_rs.messages.requests import LENGTH, RUNNING, OutputRow, StepOutput
from lightllm_rs.messages.sampling import TokenLogprobs
from lightllm_rs.tokenizer import Detokenizer, TextTokenizer

TOKENIZER = TextTokenizer(tiny_tokenizer(), None, None)


def output_of(detokenizer: Detokenizer, stop: str | None = None, records: bool = False) -> TextOutput:
    return TextOutput(
        detokenizer,
        stops=StopSet([stop]) if stop else None,
        include_stop=False,
        min_tokens=0,
        records=records,
        drop=False,
        quiet=False,
        opening="",
        began=0.0,
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 400), max_size=5), min_size=1, max_size=8), st.booleans())
def test_rows_give_what_decoding_them_together_gives(rows: list[list[int]], skip: bool) -> None:
    streams, output = TextStreams(), output_of(TOKENIZER.detokenizer(skip))
    streams.open(5, output)
    text = ""
    for number, ids in enumerate(rows):
        finish = LENGTH if number == len(rows) - 1 else RUNNING
        news = streams.feed(encode(StepOutput([OutputRow(5, pack_u32(ids), finish)])), float(number))
        assert news is not None
        assert news.ended == ([5] if finish else [])
        output.look()
        text += output.text()
    flat = [token for ids in rows for token in ids]
    assert text == TOKENIZER.decode(flat, skip_special_tokens=skip)
    assert (output.tokens, output.finish) == (len(flat), "length")


def test_a_decoder_in_python_is_asked_for_each_token() -> None:
    class Spelled:
        def push(self, token: int, /) -> str:
            if token == 0:
                raise ValueError("no such letter")
            return chr(token)

        def finish(self) -> str:
            return "."

    streams = TextStreams()
    outputs = {number: output_of(Spelled(), stop="c" if number == 2 else None) for number in (1, 2, 3)}
    for number, output in outputs.items():
        streams.open(number, output)
    rows = [OutputRow(number, pack_u32([97, 98 if number < 3 else 0, 99]), LENGTH) for number in outputs]
    news = streams.feed(encode(StepOutput(rows)), 0.0)
    assert news is not None
    assert (news.ended, news.stopped) == ([1, 2], [])
    assert news.faults == [(3, "ValueError: no such letter")]
    assert [outputs[number].text() for number in (1, 2)] == ["abc.", "ab"]


def test_log_probabilities_travel_with_their_tokens() -> None:
    streams, output = TextStreams(), output_of(TOKENIZER.detokenizer(), records=True)
    streams.open(1, output)
    ids = TOKENIZER.encode("Hi!")
    pair = TokenLogprobs(-0.5, pack_u32([7, 8]), b"\0\0\0\xbf\0\0\x80\xbf")
    frame = encode(StepOutput([OutputRow(1, pack_u32(ids), logprobs=[pair] * len(ids))]))
    streams.feed(frame, 0.0)
    records = output.records()
    assert [record.token for record in records] == ids
    assert "".join(record.text for record in records) == "Hi!" == output.text()
    for record in records:
        assert record.logprobs is not None
        assert (record.logprobs.chosen, record.logprobs.alternatives) == (-0.5, [(7, -0.5), (8, -1.0)])


def test_wrong_input_is_refused() -> None:
    with pytest.raises(FrameError):
        TextStreams().feed(b"\xc1", 0.0)
    for strings in ([], [""]):
        with pytest.raises(ValueError, match="stop strings"):
            StopSet(strings)
