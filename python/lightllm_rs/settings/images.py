"""Settings of images: visual servers, limits of requests, the image cache."""

from __future__ import annotations

from typing import Annotated

from lightllm_rs.settings.engine import EngineSettings
from lightllm_rs.settings.metadata import meta


class ImageSettings(EngineSettings, frozen=True, kw_only=True):
    """The second part of `ServeSettings`."""

    visual_batch_size: Annotated[
        int, meta("most images that are encoded at once", group="Images", low=1, high=4096)
    ] = 32
    visual_batch_pixels: Annotated[
        int,
        meta(
            "pixels that are encoded at once, as the model sees them after resizing; a larger image goes alone "
            "(0: auto, 4 Mi on a GPU and 1 Mi on a CPU)",
            low=0,
            high=1 << 40,
        ),
    ] = 0
    visual_decode_pixels: Annotated[
        int,
        meta(
            "pixels of originals that a visual server decodes at a time, up to 24 bytes of memory each; a larger image "
            "goes alone (0: auto, as many as --max-image-pixels)",
            low=0,
            high=1 << 40,
        ),
    ] = 0
    visual_gpu: Annotated[
        int,
        meta(
            "GPU of the first visual server, each further one has the next (-1: those of the backends)",
            low=-1,
            high=1023,
        ),
    ] = -1
    visual_dp: Annotated[int, meta("visual servers", low=1, high=64)] = 1
    visual_threads: Annotated[
        int,
        meta("threads of a visual server that decode and resize (0: auto, one a core and at most 16)", low=0, high=256),
    ] = 0
    visual_stall_seconds: Annotated[
        float,
        meta(
            "seconds without a sign of life, or with images and no progress, after which a visual server is killed and "
            "started again (0: auto, half of --image-wait-timeout and at least 10)",
            low=0,
            high=86_400,
        ),
    ] = 0.0
    max_images: Annotated[int, meta("most images of one prompt", low=0, high=10_000)] = 16
    max_image_bytes: Annotated[
        int, meta("longest image, as it is stored; one in base64 must also fit into the body", low=1, high=1 << 30)
    ] = 20 << 20
    max_request_image_bytes: Annotated[
        int, meta("longest of all images of one request together", low=1, high=1 << 32)
    ] = 64 << 20
    max_held_image_bytes: Annotated[
        int,
        meta("longest of all images of the requests that run in one HTTP process; more get 503", low=1, high=1 << 40),
    ] = 1 << 30
    max_image_pixels: Annotated[int, meta("most pixels of one image", low=1, high=89_000_000)] = 50_000_000
    image_fetch_timeout: Annotated[
        float, meta("seconds in which an image on the web must be there, redirects included", low=0.1, high=3600)
    ] = 10.0
    image_wait_timeout: Annotated[
        float,
        meta(
            "seconds in which the images of a request must have room and be encoded; then it gets a 503",
            low=0.1,
            high=86_400,
        ),
    ] = 120.0
    image_redirects: Annotated[int, meta("most redirects on the way to an image", low=0, high=20)] = 3
    image_fetches: Annotated[
        int, meta("images that one HTTP process fetches at the same time; eight times as many wait", low=1, high=1024)
    ] = 16
    allowed_media_domains: Annotated[
        tuple[str, ...],
        meta(
            "hosts that images may come from, separated by commas (example.org is that host alone, *.example.org all "
            "below it); without them every public host"
        ),
    ] = ()
    allowed_local_media_path: Annotated[
        str | None,
        meta("folder whose files every caller may name as file:///path/image.png; without it no file may be named"),
    ] = None
    mm_cache_size: Annotated[
        float,
        meta(
            "GiB of shared memory for images and their features, reserved at the start (0: auto, 4 or a quarter of "
            "/dev/shm, whichever is less)",
            low=0,
            high=1 << 14,
        ),
    ] = 0.0
