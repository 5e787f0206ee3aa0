"""Pre-tokenizers of byte-level BPE vocabularies in GGUF files, by the name that `tokenizer.ggml.pre` gives.

A GGUF file holds vocabulary and merges, but only the name of the rule that cuts a text into words before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

from lightllm_rs.tokenizer.errors import TokenizerError

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Rule:
    """How a text becomes words.

    Attributes:
        pattern: words are its matches; None for GPT-2's pattern.
        single_digits: each digit is a word of its own, before `pattern` is applied.
        nfc: the text is put into Unicode's normal form C first.
        whole_words: a word that is in the vocabulary is one token, whatever the merges say.
        adds_bos: a beginning-of-text token comes first where the file does not say.
    """

    pattern: str | None = None
    single_digits: bool = False
    nfc: bool = False
    whole_words: bool = False
    adds_bos: bool = False

    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """The rule as a pre-tokenizer, which also maps bytes to the vocabulary's letters."""
        steps: list[pre_tokenizers.PreTokenizer] = []
        if self.single_digits:
            steps.append(pre_tokenizers.Digits(individual_digits=True))
        if self.pattern is not None:
            steps.append(pre_tokenizers.Split(Regex(self.pattern), "isolated"))
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=self.pattern is None))
        return steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(steps)

    def normalizer(self) -> normalizers.Normalizer | None:
        """What is done to the text before."""
        return normalizers.NFC() if self.nfc else None


_GPT2 = Rule()
_DIGITS = Rule(single_digits=True)
_LLAMA = Rule(_LLAMA3, whole_words=True, adds_bos=True)

RULES: dict[str, Rule] = {
    "gpt-2": _GPT2,
    "smollm": _DIGITS,
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "command-r": _DIGITS,
    "llama3": _LLAMA,
    "llama-v3": _LLAMA,
    "llama-bpe": _LLAMA,
    "qwen2": Rule(_QWEN2, nfc=True),
    "tekken": Rule(_TEKKEN, whole_words=True, adds_bos=True),
}


def rule(name: str) -> Rule:
    """The rule called `name`. Raises TokenizerError with the known names."""
    try:
        return RULES[name]
    except KeyError:
        raise TokenizerError(
            f"the GGUF file's pre-tokenizer {name!r:.60} is not supported (known: {', '.join(RULES)}): "
            "pass --tokenizer with the model's tokenizer.json"
        ) from None
