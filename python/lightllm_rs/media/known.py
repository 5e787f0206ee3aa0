"""Pictures that were here before: the headers of the same bytes need not be read again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from lightllm_rs.media.formats import Picture
from lightllm_rs.media.sources import Detail

MOST = 4096
"""Headers that are remembered, those that were looked up last: some hundred bytes each."""


class KnownPictures:
    """What headers said, apart for each salt: the time that an answer takes tells nobody what others have sent. For
    several threads at once."""

    def __init__(self) -> None:
        self._headers: OrderedDict[tuple[bytes, Detail, str], Picture] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, data: bytes, digest: bytes, detail: Detail, salt: str) -> Picture | None:
        """The picture with these bytes, if it was added with this salt."""
        name = digest, detail, salt
        with self._lock:
            header = self._headers.get(name)
            if header is None:
                return None
            self._headers.move_to_end(name)
        return replace(header, data=data)

    def add(self, picture: Picture, salt: str) -> None:
        """Remembers what its header said, and not its bytes."""
        with self._lock:
            self._headers[picture.digest, picture.detail, salt] = replace(picture, data=b"")
            if len(self._headers) > MOST:
                self._headers.popitem(last=False)
