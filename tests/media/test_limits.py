"""Every limit is the one that the operator has set."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from lightllm_rs.media import Limits
from lightllm_rs.settings import ServeSettings


def test_each_limit_is_a_setting(tmp_path: Path) -> None:
    settings = ServeSettings(
        max_images=2,
        max_image_bytes=3,
        max_request_image_bytes=4,
        max_held_image_bytes=5,
        max_image_pixels=6,
        image_fetch_timeout=7.0,
        image_redirects=8,
        image_fetches=9,
        allowed_media_domains=("example.org",),
        allowed_local_media_path=str(tmp_path),
    )
    limits = Limits.of(settings)
    assert limits == Limits(2, 3, 4, 5, 6, 7.0, 8, 9, ("example.org",), tmp_path.resolve())
    plain = asdict(Limits())
    assert all(value != plain[name] for name, value in asdict(limits).items()), "a limit has its default"


def test_without_settings_they_are_the_defaults() -> None:
    assert Limits.of(ServeSettings()) == Limits()


def test_one_request_holds_no_more_than_all() -> None:
    assert Limits.of(ServeSettings(max_request_image_bytes=100, max_held_image_bytes=10)).request_bytes == 10


def test_files_are_looked_for_below_what_a_link_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    assert Limits.of(ServeSettings(allowed_local_media_path=str(tmp_path / "link"))).folder == tmp_path / "pictures"
