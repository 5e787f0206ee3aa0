"""One output of a request: from the router's rows to text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from lightllm_rs.http.errors import ApiError, internal
from lightllm_rs.messages.requests import LENGTH, RUNNING, STOP, Admission, OutputRow
from lightllm_rs.messages.sampling import TokenLogprobs
from lightllm_rs.tokenizer import Detokenizer, StopMatcher

if TYPE_CHECKING:
    from lightllm_rs.http.call import Call


class Record:
    """A token of the output, where a route shows tokens.

    Attributes:
        text: what it adds to the text.
        start: letters of the text before it.
        kept: it is part of the text: no end token, and not behind a stop string.
    """

    __slots__ = ("kept", "logprobs", "start", "text", "token")

    def __init__(self, token: int, text: str, start: int, logprobs: TokenLogprobs | None) -> None:
        self.token = token
        self.text = text
        self.start = start
        self.logprobs = logprobs
        self.kept = True


class Choice:
    """Takes the rows of one request at the router and keeps what the answer has not used yet.

    Attributes:
        index: number among the choices of the answer.
        prompt: number of its prompt; `prompt_tokens` is that prompt's length.
        tokens: generated so far, the end token included.
        finish: "stop" or "length" once it has ended.
        prompt_logprobs: by position, where asked for; None at position 0.
    """

    __slots__ = (
        "_detokenizer", "_emitted", "_length", "_matcher", "_min_tokens", "_pieces", "_records", "admission", "call",
        "drop", "finish", "first_at", "index", "last_at", "number", "prompt", "prompt_logprobs", "prompt_tokens",
        "queued", "tokens",
    )  # fmt: skip

    def __init__(
        self,
        call: Call,
        index: int,
        prompt: int,
        prompt_tokens: int,
        detokenizer: Detokenizer,
        matcher: StopMatcher | None,
        min_tokens: int,
        keep_records: bool,
        drop: bool,
    ) -> None:
        self.call = call
        self.index = index
        self.prompt = prompt
        self.prompt_tokens = prompt_tokens
        self.number = 0
        self.tokens = 0
        self.finish: str | None = None
        self.admission: Admission | None = None
        self.first_at = 0.0
        self.last_at = 0.0
        self.queued = False  # in the call's list of choices that have something new
        self.drop = drop  # max_tokens is 0: the one token that the router must make is not shown
        self.prompt_logprobs: list[TokenLogprobs | None] = [None]
        self._detokenizer = detokenizer
        self._matcher = matcher
        self._min_tokens = min_tokens
        self._pieces: list[str] = []
        self._records: list[Record] | None = [] if keep_records else None
        self._length = 0  # letters that came out of the detokenizer
        self._emitted = 0  # letters that came out of the matcher

    def take(self, row: OutputRow, now: float) -> bool:
        """One row of the router at time `now`. Returns whether this choice has ended."""
        if row.admission is not None:
            self.admission = row.admission
        if row.prompt_logprobs is not None:
            self._take_prompt(row.prompt_start, row.prompt_logprobs)
        if row.tokens or row.finish != RUNNING:
            observer = self.call.observer
            if self.first_at:
                observer.inter_token(now - self.last_at)
            else:
                self.first_at = now
                observer.first_token(now - self.call.began)
            self.last_at = now
            if self.drop:
                self._end("length")
            else:
                self._take_tokens(row)
        self.call.touch(self)
        return self.finish is not None

    def _take_tokens(self, row: OutputRow) -> None:
        words = row.tokens
        count = len(words) >> 2
        ids = (int.from_bytes(words, "little"),) if count == 1 else struct.unpack(f"<{count}I", words)
        ends = row.finish == STOP
        for position, token in enumerate(ids):
            self.tokens += 1
            end = ends and position == count - 1
            text = "" if end else self._detokenizer.push(token)
            if self._records is not None:
                entry = Record(token, text, self._length, row.logprobs[position] if row.logprobs else None)
                entry.kept = not end
                self._records.append(entry)
            if text:
                self._let_out(text)
                if self.finish is not None:
                    if row.finish == RUNNING:
                        self.call.engine.abort([self.number])
                    return
        if row.finish != RUNNING:
            rest = self._detokenizer.finish()
            if rest and self._records:
                self._records[-1].text += rest
            self._let_out(rest)
            if self.finish is None:
                self._end("length" if row.finish == LENGTH else "stop")

    def _let_out(self, text: str) -> None:
        """Text of the detokenizer, on its way through the search for stop strings."""
        matcher = self._matcher
        self._length += len(text)
        if matcher is not None and self.tokens > self._min_tokens:
            text = matcher.push(text)
            if matcher.stopped is not None:
                self._end("stop")
        if text:
            self._pieces.append(text)
            self._emitted += len(text)

    def _end(self, finish: str) -> None:
        self.finish = finish
        if self._matcher is not None and self._matcher.stopped is None:
            held = self._matcher.finish()
            if held:
                self._pieces.append(held)
                self._emitted += len(held)

    def _take_prompt(self, start: int, entries: list[TokenLogprobs]) -> None:
        """Log-probabilities of prompt positions; a preempted request reports some again."""
        known = self.prompt_logprobs
        if start > len(known):
            self.call.fail(internal())  # a hole: the backend broke its contract
            return
        first = max(start, 1)
        known[first : start + len(entries)] = entries[first - start :]

    def fail(self, error: ApiError) -> None:
        """The router says that this request could not be served: so ends the whole answer."""
        self.call.fail(error)

    def text(self) -> str:
        """The text since the last call."""
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    @property
    def unsent(self) -> int:
        """About how many pieces wait to be sent."""
        return len(self._pieces) + (len(self._records) if self._records is not None else 0)

    def records(self) -> list[Record]:
        """The tokens since the last call whose text has been let out."""
        if self._records is None:
            return []
        if self.finish is not None:
            ready, self._records = self._records, []
            for record in ready:
                if record.start + len(record.text) > self._emitted:
                    record.kept = record.kept and record.start < self._emitted
                    record.text = record.text[: max(0, self._emitted - record.start)]
            return ready
        end = 0
        for record in self._records:
            if record.start + len(record.text) > self._emitted:
                break
            end += 1
        ready, self._records = self._records[:end], self._records[end:]
        return ready
