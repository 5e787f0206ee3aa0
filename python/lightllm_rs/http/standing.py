"""How a request stands among others: who asks, how much it matters, and until when."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from lightllm_rs.http.schemas.drawing import DrawingBody
from lightllm_rs.http.service import Service


@dataclass(frozen=True)
class Standing:
    """What the scheduler is told beside what is to be computed.

    Attributes:
        priority: lower goes first.
        deadline_ms: from the request's arrival to its first token; 0 for none.
        tenant, class_label: 64-bit hashes under a key of this service, so that nothing that is written down later names
            a user; 0 for none.
    """

    priority: int = 0
    deadline_ms: float = 0.0
    tenant: int = 0
    class_label: int = 0

    def deadline_left(self, seconds: float) -> int:
        """Milliseconds left when `seconds` have passed since the arrival: at least 1, or 0 if there is no deadline."""
        return max(1, math.ceil(self.deadline_ms - seconds * 1e3)) if self.deadline_ms else 0


def standing_of(body: DrawingBody, service: Service, key: str) -> Standing:
    """How a request stands; `key` names the API key that let it in."""
    user, label = body.user or "", body.request_class or ""
    return Standing(
        priority=body.priority or 0,
        deadline_ms=body.deadline_ms or 0.0,
        # The key's name has no blank: no user of one key can pass for one of another.
        tenant=_hashed(service.hash_key, b"tenant", f"{key} {user}") if key or user else 0,
        class_label=_hashed(service.hash_key, b"class", label) if label else 0,
    )


def _hashed(key: bytes, kind: bytes, text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=key, person=kind)
    return int.from_bytes(digest.digest(), "little") or 1
