"""`TextTokenizer`: all that the HTTP process asks about tokens."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer

from lightllm_rs.tokenizer.chat_template import ChatTemplate
from lightllm_rs.tokenizer.detokenizer import Detokenizer, StreamDetokenizer
from lightllm_rs.tokenizer.pieces import pieces_of


class TextTokenizer:
    """A tokenizer with its special tokens and its chat template.

    Args:
        tokenizer: without truncation and padding.
        bos_token: beginning of text, where the model has one.
        chat_template: None for a model that is no chat model.

    Attributes:
        vocab: ids are below this.
        special: ids that `skip_special_tokens` leaves out of texts.
        longest: letters of the longest token, which bounds the tokens of a text from below.
    """

    def __init__(self, tokenizer: Tokenizer, bos_token: str | None, chat_template: ChatTemplate | None) -> None:
        self._tokenizer = tokenizer
        self.chat_template = chat_template
        self.vocab = tokenizer.get_vocab_size(with_added_tokens=True)
        added = tokenizer.get_added_tokens_decoder()
        self.special = frozenset(number for number, token in added.items() if token.special)
        vocabulary = tokenizer.get_vocab(with_added_tokens=True)
        self.longest = max(map(len, vocabulary))
        self._bos = tokenizer.token_to_id(bos_token) if bos_token else None
        self._pieces = pieces_of(tokenizer, vocabulary, self.special)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text; other threads run meanwhile. A beginning-of-text token never stands there twice."""
        # encode_batch lets go of the interpreter lock, which encode does not.
        ids: list[int] = self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids
        if add_special_tokens and self._bos is not None and ids[:2] == [self._bos, self._bos]:
            del ids[0]
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of some tokens; ids outside the vocabulary have none."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def detokenizer(self, skip_special_tokens: bool = True) -> Detokenizer:
        """For one output whose tokens come one after the other."""
        if self._pieces is not None:
            return self._pieces.detokenizer(skip_special_tokens)
        return StreamDetokenizer(self._tokenizer, skip_special_tokens)

    def token_bytes(self, token: int) -> bytes:
        """Bytes of one token, for log-probabilities; they may be part of a character."""
        if self._pieces is not None:
            return self._pieces.bytes_of(token)
        return self._tokenizer.decode([token], skip_special_tokens=False).encode()

    def token_letters(self, token: int) -> str:
        """The token as the vocabulary spells it; "" for an id that it lacks."""
        return self._tokenizer.id_to_token(token) or ""
