"""URLs: read strictly, or refused."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightllm_rs.media.errors import MediaError
from lightllm_rs.media.locations import in_domains, parse_location


@pytest.mark.parametrize(
    ("url", "authority", "port", "target"),
    [
        ("http://example.org", "example.org", 80, "/"),
        ("HTTPS://Example.ORG./a.png?b=c&d#e", "example.org", 443, "/a.png?b=c&d"),
        ("http://example.org:8080/a b/ü.png", "example.org:8080", 8080, "/a%20b/%C3%BC.png"),
        ("http://example.org/100%25?q=ü", "example.org", 80, "/100%25?q=%C3%BC"),
        ("http://example.org?x", "example.org", 80, "/?x"),
        ("http://a_b.example.org/", "a_b.example.org", 80, "/"),
        ("http://93.184.216.34/", "93.184.216.34", 80, "/"),
        ("http://[2606:4700::1]:81/", "[2606:4700::1]:81", 81, "/"),
        ("http://1.example/", "1.example", 80, "/"),
    ],
)
def test_parts(url: str, authority: str, port: int, target: str) -> None:
    location = parse_location(url)
    assert (location.authority, location.port, location.target) == (authority, port, target)


@pytest.mark.parametrize(
    "host",
    [
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0x",
        "2130706433",
        "017700000001",
        "127.1",
        "127.0.1",
        "1.2.3.4.5",
        "256.1.1.1",
        "127.0.0.1.2130706433",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "bücher.example",
        "a..b",
        "-a.example",
        "a-.example",
        "a%2eb",
        "%31%32%37.0.0.1",
        "a b",
        "user@example.org",
        "user:password@example.org",
        "example.org@127.0.0.1",
        "[127.0.0.1]",
        "[::1",
        "[v1.x]",
        "[::ffff:127.0.0.1.5]",
        "",
        ".",
        "a" * 64 + ".example",
        "a." * 127 + "example",
        "example.org:0",
        "example.org:65536",
        "example.org:x",
        "example.org\\@127.0.0.1",
        "exam\tple.org",
    ],
)
def test_hosts_that_are_refused(host: str) -> None:
    with pytest.raises(MediaError) as error:
        parse_location(f"http://{host}/a.png")
    assert error.value.code == "invalid_image_url"


@pytest.mark.parametrize(
    "url",
    ["", "a.png", "/a.png", "//example.org/a", "ftp://example.org/", "gopher://x/", "http:example.org", "http:///a"],
)
def test_what_is_no_web_address(url: str) -> None:
    with pytest.raises(MediaError):
        parse_location(url)


def test_long_urls_are_refused() -> None:
    with pytest.raises(MediaError, match="longer than 8192"):
        parse_location("http://example.org/" + "x" * 8192)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://example.org/{text}", f"http://example.org:{text}/"):
        try:
            location = parse_location(url)
        except MediaError:
            continue
        assert location.host.isascii()
        assert location.target.isascii()
        assert location.target.startswith("/")
        assert " " not in location.target
        if location.host.replace(".", "").isdigit():
            ipaddress.IPv4Address(location.host)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        ("/b", "https://example.org/b"),
        ("b", "https://example.org/a/b"),
        ("?c", "https://example.org/a/x?c"),
        ("//other.example/b", "https://other.example/b"),
        ("https://other.example:8443", "https://other.example:8443"),
    ],
)
def test_redirects(target: str, url: str) -> None:
    assert parse_location("https://example.org/a/x").next(target).url == url


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "data:,x", "javascript:1", "http://example.org/", "//[", "\\\\evil.example"]
)
def test_redirects_that_are_refused(target: str) -> None:
    with pytest.raises(MediaError):
        parse_location("https://example.org/a").next(target)


def test_domains() -> None:
    domains = ("example.org", "*.cdn.example")
    assert in_domains("example.org", domains)
    assert in_domains("a.cdn.example", domains)
    assert in_domains("a.b.cdn.example", domains)
    for host in ("www.example.org", "cdn.example", "evilcdn.example", "example.org.evil.example", ".cdn.example", ""):
        assert not in_domains(host, domains)
