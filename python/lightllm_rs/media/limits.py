"""What a request may bring in pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightllm_rs.settings import ServeSettings


@dataclass(frozen=True)
class Limits:
    """Bounds of everything that happens before an image has a key.

    Attributes:
        images: most in one prompt.
        image_bytes: longest of one image, as it is stored (base64 counts as what it stands for).
        request_bytes: longest of all images of one request together.
        held_bytes: longest of all images that the process holds for its requests.
        pixels: most of one image.
        fetch_seconds: for one image, from its name to its last byte.
        redirects: most on the way to one image.
        fetches: images that are fetched at the same time.
        domains: hosts that images may come from; none stands for all public ones.
        folder: below it lie the files that requests may name; None for no files at all.
    """

    images: int = 16
    image_bytes: int = 20 << 20
    request_bytes: int = 64 << 20
    held_bytes: int = 1 << 30
    pixels: int = 50_000_000
    fetch_seconds: float = 10.0
    redirects: int = 3
    fetches: int = 16
    domains: tuple[str, ...] = ()
    folder: Path | None = None

    @staticmethod
    def of(settings: ServeSettings) -> Limits:
        """As the operator has set them."""
        folder = settings.allowed_local_media_path
        return Limits(
            images=settings.max_images,
            image_bytes=settings.max_image_bytes,
            request_bytes=min(settings.max_request_image_bytes, settings.max_held_image_bytes),
            held_bytes=settings.max_held_image_bytes,
            pixels=settings.max_image_pixels,
            fetch_seconds=settings.image_fetch_timeout,
            redirects=settings.image_redirects,
            fetches=settings.image_fetches,
            domains=settings.allowed_media_domains,
            folder=None if folder is None else Path(folder).resolve(),
        )
