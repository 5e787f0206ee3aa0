"""Pictures in the request itself and in files."""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightllm_rs.media import MediaError, source_of_base64, source_of_url
from lightllm_rs.media.inline import decode_base64
from lightllm_rs.media.local_files import read_file


def test_kinds() -> None:
    text = base64.b64encode(b"picture").decode()
    source = source_of_url("here", f"data:image/png;base64,{text}", "low")
    assert (source.param, source.kind, source.text, source.detail) == ("here", "inline", text, "low")
    for head in ("data:;base64,", "DATA:image/jpeg;charset=x;BASE64,", "data:text/plain;base64,"):
        assert source_of_url("", head + text).text == text
        assert source_of_base64("", head + text).text == text
    assert source_of_base64("", text).kind == "inline"
    assert source_of_url("", "HTTPS://example.org/a").kind == "remote"
    for url in ("file:///a/b%20c.png", "file://localhost/a/b%20c.png", "FILE:/a/b%20c.png"):
        assert (source_of_url("", url).kind, source_of_url("", url).text) == ("local", "/a/b c.png")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "ftp://example.org/a",
        "javascript:alert(1)",
        "data:image/png;base64",
        "data:image/png,abc",
        "data:,",
        "file://host/a",
        "file://a",
        "file:a",
        "file:///a%00b",
        "file://[/a",
        " http://example.org",
    ],
)
def test_urls_of_no_kind(url: str) -> None:
    with pytest.raises(MediaError) as error:
        source_of_url("", url)
    assert error.value.code == "invalid_image_url"


@given(st.binary(max_size=100), st.sampled_from(["", "\n", "\r\n", " "]), st.booleans())
def test_base64(data: bytes, blank: str, padded: bool) -> None:
    text = base64.b64encode(data).decode()
    text = text if padded else text.rstrip("=")
    assert decode_base64(blank.join(text), 100) == data


@pytest.mark.parametrize("text", ["a", "abcde", "ab-_", "abc*", "a=bc", "äöüß", "\ud800", "ab\0c"])
def test_what_is_no_base64(text: str) -> None:
    with pytest.raises(MediaError, match="not valid base64"):
        decode_base64(text, 100)


@given(
    st.text("ABab01+/-_=*\n\0é\ud800", max_size=9)
    | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode())
)
def test_base64_is_what_python_says_it_is(text: str) -> None:
    found = expected = None
    with contextlib.suppress(MediaError):
        found = decode_base64(text, 100)
    bare = text.replace("\n", "").rstrip("=")
    with contextlib.suppress(ValueError):
        expected = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    assert found == expected


def test_long_base64() -> None:
    assert len(decode_base64(base64.b64encode(b"x" * 100).decode(), 100)) == 100
    for size in (101, 10_000_000):
        with pytest.raises(MediaError, match="larger than 100 bytes"):
            decode_base64(base64.b64encode(b"x" * size).decode(), 100)


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "allowed"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a b.png").write_bytes(b"picture")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "allowed-too").mkdir()
    (tmp_path / "allowed-too" / "secret.png").write_bytes(b"secret")
    (folder / "good-link").symlink_to(folder / "deep" / "a b.png")
    (folder / "bad-link").symlink_to(tmp_path / "secret.png")
    (folder / "bad-folder").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "null").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe")
    for good in ("deep/a b.png", "good-link", "deep/../deep/./a b.png"):
        assert read_file(f"{folder}/{good}", folder, 7) == b"picture"
    texts = set()
    for bad in (
        "bad-link",
        "bad-folder/secret.png",
        "../secret.png",
        "../allowed-too/secret.png",
        "deep",
        "none.png",
        "loop",
        "null",
        "pipe",
        "x" * 300,
        "/../../../../../../../../etc/passwd",
    ):
        with pytest.raises(MediaError) as error:
            read_file(f"{folder}/{bad}", folder, 100)
        texts.add(error.value.message)
    with pytest.raises(MediaError) as error:
        read_file("/etc/passwd", folder, 1 << 20)
    texts.add(error.value.message)
    assert len(texts) == 1, "a caller cannot tell what there is"
    assert str(tmp_path) not in texts.pop()
    with pytest.raises(MediaError, match="larger than 6 bytes"):
        read_file(f"{folder}/good-link", folder, 6)


def test_files_leave_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a", "b", ".") * 20:
        with contextlib.suppress(MediaError):
            read_file(f"{tmp_path}/{name}", tmp_path, 1)
    assert len(os.listdir("/proc/self/fd")) == before
