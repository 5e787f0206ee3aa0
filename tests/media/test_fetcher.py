"""Fetching from hosts that misbehave, and from none that are not public."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from helpers.bad_host import PUBLIC, BadHost, answer, bad_host, bomb, endless, raw, redirect, silent
from lightllm_rs.media import Fetcher, Limits, MediaError

PATIENT = Limits(fetch_seconds=60.0, image_bytes=1 << 20)
URL = "http://pictures.example"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n"


def fetched(
    url: str,
    set_up: Callable[[BadHost], None],
    limits: Limits = PATIENT,
    after: Callable[[BadHost], None] = lambda host: None,
) -> bytes:
    """What the fetcher gets."""

    async def run() -> bytes:
        async with bad_host() as host:
            set_up(host)
            fetcher = Fetcher(limits, host.network)
            try:
                return await fetcher.fetch(url, lambda size: None)
            finally:
                after(host)

    return asyncio.run(run())


def page(reply: object, path: str = "/") -> Callable[[BadHost], None]:
    return lambda host: host.pages.update({path: reply})  # type: ignore[dict-item]


def refused(url: str, set_up: Callable[[BadHost], None], limits: Limits = PATIENT, **options: object) -> MediaError:
    with pytest.raises(MediaError) as error:
        fetched(url, set_up, limits, **options)  # type: ignore[arg-type]
    return error.value


def test_a_good_host() -> None:
    def after(host: BadHost) -> None:
        [head] = host.asked
        assert head.startswith("GET /a%20b.png?c=1 HTTP/1.1\r\n")
        assert "\r\nHost: pictures.example\r\n" in head
        assert "accept-encoding: identity" in head.lower()
        assert "cookie" not in head.lower()
        assert host.dialled == [PUBLIC]

    body = bytes(range(256)) * 100
    assert fetched(URL + "/a b.png?c=1#d", page(answer(body), "/a%20b.png?c=1"), after=after) == body
    assert fetched(URL, page(raw(HEAD + body))) == body, "the end of the connection is the end of the body"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert fetched(URL, page(raw(chunked))) == b"abcde"


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetched(URL, page(answer(b"x"))) == b"x"


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answer(b"", status="404 Not Found"), "status 404"),
        (answer(b"x", status="206 Partial Content"), "status 206"),
        (answer(b"", status="304 Not Modified"), "status 304"),
        (answer(b"", status="302 Found"), "status 302"),
        (answer(b"abc", length=10), "broke off"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), "broke off"),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"), "does not speak HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc"), "does not speak HTTP"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "does not speak HTTP"),
        (raw(b""), "broke off"),
        (raw(b"\r\n\r\n" * 10), "does not speak HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20)), "does not speak HTTP"),
        (endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000), "does not speak HTTP"),
        (bomb(), "compresses"),
        (answer(b"x", "Content-Encoding: br, gzip"), "compresses"),
    ],
)
def test_bad_answers(reply: object, says: str) -> None:
    error = refused(URL, page(reply))
    assert says in error.message
    assert error.code == "image_fetch_failed"


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"x", length=(1 << 20) + 1),
        answer(b"x", length=10**19),
        raw(HEAD + b"x" * ((1 << 20) + 1)),
        endless(HEAD, b"x" * 65_536),
    ],
)
def test_too_many_bytes(reply: object) -> None:
    error = refused(URL, page(reply))
    assert error.code == "image_too_large"
    assert "1048576" in error.message
    assert len(fetched(URL, page(answer(b"x" * (1 << 20))))) == 1 << 20


@pytest.mark.parametrize("reply", [silent, endless(b"", b"H", 0.05), endless(HEAD, b"x", 0.05)])
def test_slow_hosts(reply: object) -> None:
    assert "0.3 seconds" in refused(URL, page(reply), replace(PATIENT, fetch_seconds=0.3)).message


def test_a_slow_chain_of_redirects_is_one_fetch() -> None:
    def set_up(host: BadHost) -> None:
        for number in range(20):

            async def slowly(out: asyncio.StreamWriter, number: int = number) -> None:
                await asyncio.sleep(0.1)
                await redirect(f"/{number + 1}")(out)

            host.pages[f"/{number}"] = slowly

    error = refused(URL + "/0", set_up, replace(PATIENT, fetch_seconds=0.3, redirects=20))
    assert "0.3 seconds" in error.message


def test_redirects() -> None:
    def set_up(host: BadHost) -> None:
        host.names["other.example"] = [["198.41.0.4"]]
        host.pages.update(
            {"/a": redirect("http://other.example/b?c"), "/b?c": redirect("d", "308 Permanent"), "/d": answer(b"x")}
        )

    def after(host: BadHost) -> None:
        assert host.dialled == [PUBLIC, "198.41.0.4", "198.41.0.4"]
        assert [f"\r\nHost: {name}" in head for name, head in zip(("p", "o", "o"), host.asked, strict=True)] == [
            True
        ] * 3

    assert fetched(URL + "/a", set_up, after=after) == b"x"
    assert "more than 1 times" in refused(URL + "/a", set_up, replace(PATIENT, redirects=1)).message
    assert "more than 3 times" in refused(URL + "/", page(redirect("/"))).message


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://2130706433:{port}/",
        "http://0177.1:{port}/",
        "http://0x7f.1:{port}/",
        "http://inside.example:{port}/",
        "http://half.example:{port}/",
        "//127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://user@127.0.0.1:{port}/",
    ],
)
def test_redirects_into_this_network(target: str) -> None:
    def set_up(host: BadHost) -> None:
        host.names["localhost"] = [["127.0.0.1", "::1"]]
        host.names["inside.example"] = [["10.1.2.3"]]
        host.names["half.example"] = [[PUBLIC, "10.1.2.3"]]
        host.pages["/"] = redirect(target.format(port=host.port))

    def after(host: BadHost) -> None:
        assert host.dialled == [PUBLIC], "only the first host was asked"
        assert len(host.asked) == 1

    error = refused(URL, set_up, after=after)
    assert "127.0.0.1" not in error.message
    assert "10.1" not in error.message


def test_a_name_that_changes_its_address() -> None:
    """DNS rebinding: each connection is made to an address that was checked for it."""

    def set_up(host: BadHost) -> None:
        host.names["pictures.example"] = [[PUBLIC], ["127.0.0.1"]]
        host.pages["/"] = redirect("/again")
        host.pages["/again"] = answer(b"secret")

    def after(host: BadHost) -> None:
        assert host.dialled == [PUBLIC]

    assert "not one that this server may ask" in refused(URL, set_up, after=after).message


def test_all_reasons_of_not_reaching_a_host_read_the_same() -> None:
    texts = set()
    for addresses in (None, [], ["10.0.0.1"], ["::1"], ["203.0.114.1"], [PUBLIC, "127.0.0.1"]):

        def set_up(host: BadHost, addresses: list[str] | None = addresses) -> None:
            host.names.clear()
            if addresses is not None:
                host.names["pictures.example"] = [addresses]

        texts.add(refused(URL, set_up).message)
    assert len(texts) == 1


def test_the_next_address_is_tried() -> None:
    def set_up(host: BadHost) -> None:
        host.names["pictures.example"] = [["203.0.114.1", PUBLIC]]
        host.pages["/"] = answer(b"x")

    assert fetched(URL, set_up) == b"x"


def test_domains() -> None:
    limits = replace(PATIENT, domains=("pictures.example",))
    assert fetched(URL, page(answer(b"x")), limits) == b"x"
    assert "not allowed" in refused("http://other.example/", page(answer(b"x")), limits).message

    def set_up(host: BadHost) -> None:
        host.names["other.example"] = [[PUBLIC]]
        host.pages["/"] = redirect("http://other.example/b")
        host.pages["/b"] = answer(b"x")

    def after(host: BadHost) -> None:
        assert len(host.asked) == 1

    assert "not allowed" in refused(URL, set_up, limits, after=after).message
