"""Pictures from the web: bounded in bytes, seconds and redirects, and from public hosts only."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpcore

from lightllm_rs import __version__
from lightllm_rs.media.errors import MediaError, Overloaded, too_many_bytes
from lightllm_rs.media.limits import Limits
from lightllm_rs.media.locations import Location, in_domains, parse_location
from lightllm_rs.media.network import Connections, PublicNetwork, Resolver, Unreachable, dial

WAITING = 8
"""So many times as many fetches may wait as may run."""

NAMES = 4
"""So many times as many names may be looked up as fetches may run: a look-up outlives a fetch that was given up."""

_REDIRECTS = {301, 302, 303, 307, 308}

Count = Callable[[int], None]
"""Told of bytes as they come; may raise MediaError or Overloaded."""


class Fetcher:
    """Fetches pictures, a bounded number at once. Lives on one event loop.

    `httpcore` and not `httpx` above it: no proxies from the environment, no redirects, no cookies and no decompression
    that would have to be switched off; each is done here, or refused.

    Args:
        network: opens the connections; without it, real ones to public hosts.
        tls: whom to trust; without it the system's and certifi's authorities. Host names are always checked.
    """

    def __init__(
        self, limits: Limits, network: httpcore.AsyncNetworkBackend | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._limits = limits
        self._network = PublicNetwork(Resolver(NAMES * limits.fetches), dial) if network is None else network
        self._tls = httpcore.default_ssl_context() if tls is None else tls
        self._slots = asyncio.Semaphore(limits.fetches)
        self._here = 0

    def check(self, url: str) -> Location:
        """The URL in its parts. Raises MediaError if it is not one to fetch from."""
        location = parse_location(url)
        self._check_domain(location)
        return location

    async def fetch(self, url: str, count: Count) -> bytes:
        """The bytes behind `url`. Raises MediaError or Overloaded."""
        location = self.check(url)
        if self._here >= (1 + WAITING) * self._limits.fetches:
            raise Overloaded("too many images are being fetched at once")
        self._here += 1
        try:
            async with self._slots:
                return await asyncio.wait_for(self._fetch(location, count), self._limits.fetch_seconds)
        except asyncio.TimeoutError:
            raise _failed(f"it took more than {self._limits.fetch_seconds:g} seconds") from None
        except Unreachable:
            raise _failed("its host cannot be reached, or is not one that this server may ask") from None
        except httpcore.ConnectError as error:
            if isinstance(error.__context__, ssl.SSLError):
                raise _failed("its host has no valid certificate") from None
            raise _failed("the connection broke off") from None
        except (httpcore.TimeoutException, httpcore.NetworkError):
            raise _failed("the connection broke off") from None
        except httpcore.ProtocolError:
            raise _failed("its host does not speak HTTP properly, or broke off") from None
        finally:
            self._here -= 1

    async def _fetch(self, location: Location, count: Count) -> bytes:
        for _ in range(self._limits.redirects + 1):
            self._check_domain(location)
            connections = Connections(self._network)
            try:
                answer = await self._ask(location, connections, count)
            finally:
                await connections.close()
            if isinstance(answer, bytes):
                return answer
            location = answer
        raise _failed(f"it is redirected more than {self._limits.redirects} times")

    async def _ask(self, location: Location, connections: Connections, count: Count) -> bytes | Location:
        """One request: the body, or where it is."""
        scheme = b"https" if location.secure else b"http"
        url = httpcore.URL(
            scheme=scheme, host=location.host.encode(), port=location.port, target=location.target.encode()
        )
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("Host", location.authority),
            ("User-Agent", f"lightllm-rs/{__version__}"),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=connections) as pool,
            pool.stream("GET", url, headers=headers) as response,
        ):
            fields = {name.lower(): value for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in fields:
                return location.next(fields[b"location"].decode("utf-8", "replace"))
            if response.status != 200:
                raise _failed(f"its host answers with status {response.status}")
            if fields.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
                raise _failed("its host compresses it, although it was asked not to")
            return await self._body(response, fields.get(b"content-length", b""), count)

    async def _body(self, response: httpcore.Response, length: bytes, count: Count) -> bytes:
        limit = self._limits.image_bytes
        if length.isdigit() and int(length) > limit:  # h11 refuses lengths of more than 20 digits
            raise too_many_bytes(limit)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.aiter_stream():
                size += len(part)
                if size > limit:
                    raise too_many_bytes(limit)
                count(len(part))
                parts.append(part)
            return b"".join(parts)
        finally:
            parts.clear()  # an error holds this frame until the garbage collector comes

    def _check_domain(self, location: Location) -> None:
        domains = self._limits.domains
        if domains and not in_domains(location.host, domains):
            raise MediaError("images from its host are not allowed on this server", "invalid_image_url")


def _failed(why: str) -> MediaError:
    return MediaError(f"the image could not be fetched: {why}", "image_fetch_failed")
