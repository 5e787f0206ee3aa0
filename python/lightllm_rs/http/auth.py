"""Who may ask what: every route but the health ones takes a key when one is set."""

from __future__ import annotations

import hashlib
import hmac

from lightllm_rs.http.errors import ApiError

PUBLIC = frozenset({"/health", "/healthz", "/ready", "/readiness", "/live", "/liveness"})
"""Open to everybody; their answers are one word."""

CONTROL = "/admin/"
"""Routes below this take the admin key alone, and nobody's when none is set."""


KEY_IN_SCOPE = "lightllm.key"
"""Where the name of a request's key stands in its ASGI scope."""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _bytes(key: str) -> bytes:
    """Of a key in the settings, as clients send it: a key that is no text came so from the environment."""
    return key.encode("utf-8", "surrogateescape")


class Keys:
    """The keys of the service. Compared as digests, in constant time.

    Args:
        api_key: for ordinary routes; None leaves them open.
        admin_key: for all routes.
    """

    def __init__(self, api_key: str | None, admin_key: str | None) -> None:
        self._api = _digest(_bytes(api_key)) if api_key else None
        self._admin = _digest(_bytes(admin_key)) if admin_key else None

    def check(self, path: str, authorization: bytes | None) -> str:
        """The name of the key that opens `path`: "api", "admin", or "" where none is needed.

        Raises ApiError 401 unless `authorization` opens `path`. What is not known to be public is not.
        """
        control = path.startswith(CONTROL)
        if path in PUBLIC or (self._api is None and not control):
            return ""
        scheme, _, key = (authorization or b"").partition(b" ")
        given = _digest(key.strip()) if scheme.lower() == b"bearer" and key.strip() else b""
        # Both comparisons are always made.
        is_api = self._api is not None and hmac.compare_digest(given, self._api)
        is_admin = self._admin is not None and hmac.compare_digest(given, self._admin)
        if is_admin or (is_api and not control):
            return "admin" if is_admin else "api"
        raise ApiError(
            401,
            "no valid key was given: send it as `Authorization: Bearer <key>`",
            code="invalid_api_key" if authorization else "missing_api_key",
        )
