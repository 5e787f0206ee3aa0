"""Addresses of pictures on the web: read strictly, so that what is checked is what is asked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from lightllm_rs.media.errors import MediaError

MAX_LETTERS = 8192

_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_SAFE = "%/:=&?~+!$,;'@()*[]"
"""Letters that stay as they are in a path and a query, beside letters and digits."""


@dataclass(frozen=True)
class Location:
    """An http or https URL in its parts.

    Attributes:
        url: as it was written.
        host: a name in lower case, or an address without brackets.
        target: path and query, in ASCII.
    """

    url: str
    secure: bool
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as the Host field has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def next(self, target: str) -> Location:
        """Where a redirect to `target` leads. Raises MediaError."""
        try:
            found = parse_location(urljoin(self.url, target))
        except ValueError:
            raise _bad("its redirect leads to no URL") from None
        if self.secure and not found.secure:
            raise _bad("its redirect leads from https to http")
        return found


def parse_location(url: str) -> Location:
    """Reads a URL. Raises MediaError for any that is not plain: with a user's name, a number as host and the like."""
    if len(url) > MAX_LETTERS:
        raise _bad(f"the URL is longer than {MAX_LETTERS} characters")
    if _CONTROL.search(url):
        raise _bad("the URL has control characters or backslashes")
    try:
        parts = urlsplit(url.strip(" "))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad("the URL does not parse") from None
    if parts.scheme not in ("http", "https"):
        raise _bad("the URL must begin with http:// or https://")
    if "@" in parts.netloc:
        raise _bad("the URL must not hold a user name or password")
    if port == 0:
        raise _bad("the URL has port 0")
    secure = parts.scheme == "https"
    query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
    return Location(
        url=url.strip(" "),
        secure=secure,
        host=_host(host, bracketed=parts.netloc.startswith("[")),
        port=port or (443 if secure else 80),
        target=quote(parts.path or "/", safe=_SAFE) + query,
    )


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise _bad("the URL's host is no IPv6 address") from None
    host = host.removesuffix(".")
    if not host.isascii():
        raise _bad("the URL's host must be ASCII: write other letters as xn--")
    if len(host) > 253 or _HOST.fullmatch(host) is None:
        raise _bad("the URL's host is no host name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # getaddrinfo would take 127.1, 0177.0.0.1 and 2130706433 too.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise _bad("the URL's host must be a name, or an IPv4 address as four decimal numbers") from None
    return host


def in_domains(host: str, domains: tuple[str, ...]) -> bool:
    """Whether `host` is one of `domains`: `example.org` is that host alone, `*.example.org` all below it."""
    return any(
        host.endswith(domain[1:]) and len(host) > len(domain) - 1 if domain.startswith("*.") else host == domain
        for domain in domains
    )


def _bad(message: str) -> MediaError:
    return MediaError(message, "invalid_image_url")
