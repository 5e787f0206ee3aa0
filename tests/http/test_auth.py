"""Keys: which bytes open what."""

from __future__ import annotations

import os

import pytest

from lightllm_rs.http.auth import Keys
from lightllm_rs.http.errors import ApiError


@pytest.mark.parametrize("key", ["secret", "Schlüssel", os.fsdecode(b"\xff\xfe")])
def test_a_key_is_bytes(key: str) -> None:
    sent = os.fsencode(key)
    keys = Keys(key, None)
    assert keys.check("/v1/models", b"Bearer " + sent) == "api"
    for wrong in (b"Bearer " + sent + b"x", b"Bearer " + sent[:-1], b"Basic " + sent, sent, None):
        with pytest.raises(ApiError) as caught:
            keys.check("/v1/models", wrong)
        assert caught.value.status == 401
