"""Tokens and texts, with the `tokenizers` package alone: no transformers, no torch."""

from __future__ import annotations

from lightllm_rs.tokenizer.chat_template import ChatTemplate
from lightllm_rs.tokenizer.detokenizer import Detokenizer
from lightllm_rs.tokenizer.errors import ChatTemplateError, TokenizerError
from lightllm_rs.tokenizer.load import load_tokenizer
from lightllm_rs.tokenizer.text_tokenizer import TextTokenizer

__all__ = [
    "ChatTemplate",
    "ChatTemplateError",
    "Detokenizer",
    "TextTokenizer",
    "TokenizerError",
    "load_tokenizer",
]
