"""Token ids that stand for pictures: not in any vocabulary, and the same for the same picture, so that the prefix
cache tells pictures apart as it does texts."""

from __future__ import annotations

import hashlib
import struct

from ..messages.images import FIRST_SYNTHETIC

DOMAIN = b"lightllm-rs image token 1\0"


def synthetic_ids(key: bytes, tokens: int) -> list[int]:
    """Ids of the tokens of the picture with the key `key`: 31 bits each of SHAKE-128 of it."""
    words = hashlib.shake_128(DOMAIN + key).digest(4 * tokens)
    return [FIRST_SYNTHETIC | word for word in struct.unpack(f"<{tokens}I", words)]
