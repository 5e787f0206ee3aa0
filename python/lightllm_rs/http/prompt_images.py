"""From pictures and a tokenised prompt to the prompt that the router gets: names, sizes, places."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.requests import Request

from lightllm_rs.cache import Want
from lightllm_rs.http.errors import ApiError, bad_request
from lightllm_rs.http.image_model import ImageModel
from lightllm_rs.http.images import picture_error, take_images
from lightllm_rs.http.prompts import context_error
from lightllm_rs.http.service import Service
from lightllm_rs.media import Held, Picture, Source
from lightllm_rs.vision import ImageInput, ImageShape, PictureError, Span, expand

INLINE_TOKENS = 4096
"""In prompts up to so long pictures are named and placed on the event loop: that costs less than a thread."""


@dataclass(frozen=True)
class Seen:
    """The pictures of a prompt, with their sizes; to be closed.

    Attributes:
        ids: the prompt, with a placeholder for each picture.
    """

    ids: list[int]
    sources: list[Source]
    held: Held
    shapes: list[ImageShape]

    def close(self) -> None:
        """Lets go of the pictures."""
        self.held.close()


@dataclass(frozen=True)
class PromptImage:
    """An image of a prompt.

    Attributes:
        param: the part of the request that names it.
        want: what the image cache is asked for; its key names the features.
    """

    param: str
    picture: Picture
    want: Want


@dataclass(frozen=True)
class PromptImages:
    """The images of one prompt, in its order; to be closed.

    Attributes:
        position_offset: as in `requests.Add`.
    """

    images: list[PromptImage]
    spans: list[Span]
    position_offset: int
    held: Held

    def failure(self, number: int, message: str) -> ApiError:
        """The error for an image that cannot be encoded."""
        return picture_error(self.images[number].param, message)

    def close(self) -> None:
        """Lets go of the pictures."""
        self.images.clear()
        self.held.close()


@contextmanager
def closed_on_error(images: PromptImages | None) -> Iterator[None]:
    """Lets go of the images if the block fails; otherwise a `Call` does, at its end."""
    try:
        yield
    except BaseException:
        if images is not None:
            images.close()
        raise


def check_places(service: Service, ids: Sequence[int], images: int, param: str) -> None:
    """Refuses a prompt that has another number of places than of images. Raises ApiError 400."""
    if service.images is None:
        return  # a token like any other
    places = ids.count(service.images.geometry.placeholder)
    if places > images:
        raise bad_request(
            f"the prompt has {places} places for images and {images} images were given: leave the model's image token "
            "out of the text, or give an image for each",
            param,
            "image_places",
        )
    if places < images:
        raise bad_request(
            f"{images} images were given and the prompt has places for {places}: the model's image token is missing in "
            "it, or the chat template does not show images there",
            param,
            "image_places",
        )


async def see(request: Request, service: Service, ids: list[int], sources: list[Source], salt: str = "") -> Seen:
    """Gets the pictures of a prompt that has a place for each. Raises ApiError, or ClientGone."""
    assert service.images is not None, "no sources are given out where no model sees"
    began = time.perf_counter()
    held = await take_images(request, service, sources, salt)
    try:
        service.observer.images_fetched(time.perf_counter() - began)
        pairs = zip(sources, held.pictures, strict=True)
        return Seen(ids, sources, held, [_shape(service.images, source, picture) for source, picture in pairs])
    except BaseException:
        held.close()
        raise


def _shape(model: ImageModel, source: Source, picture: Picture) -> ImageShape:
    try:
        return model.geometry.shape(picture.width, picture.height)
    except PictureError as error:
        raise picture_error(source.param, str(error)) from None


def _whole_length(model: ImageModel, seen: Seen) -> int:
    around = len(model.geometry.before) + len(model.geometry.after) - 1
    return len(seen.ids) + sum(shape.tokens + around for shape in seen.shapes)


def _shown_ids(model: ImageModel, seen: Seen) -> list[int]:
    geometry, shapes = model.geometry, iter(seen.shapes)
    ids: list[int] = []
    for token in seen.ids:
        if token == geometry.placeholder:
            ids += [*geometry.before, *[token] * next(shapes).tokens, *geometry.after]
        else:
            ids.append(token)
    return ids


async def with_images(
    request: Request, service: Service, ids: list[int], sources: list[Source], salt: str, param: str
) -> tuple[list[int], PromptImages | None]:
    """The prompt with the tokens of its images, and the images, if there are any.

    Args:
        ids: the prompt, with a placeholder for each image.
        salt: images of requests with different salts are never the same.
        param: the field of the prompt, for errors.

    Raises ApiError, or ClientGone.
    """
    check_places(service, ids, len(sources), param)
    if not sources:
        return ids, None
    seen = await see(request, service, ids, sources, salt)
    try:
        return await _place(service, seen, salt, param)
    except BaseException:
        seen.close()
        raise


async def count_with_images(
    request: Request, service: Service, ids: list[int], sources: list[Source], param: str
) -> list[int]:
    """The prompt as the vocabulary has it: each image is as many placeholders as it takes tokens."""
    check_places(service, ids, len(sources), param)
    if not sources:
        return ids
    assert service.images is not None, "no sources are given out where no model sees"
    seen = await see(request, service, ids, sources)
    seen.close()
    return _shown_ids(service.images, seen)


async def _place(service: Service, seen: Seen, salt: str, param: str) -> tuple[list[int], PromptImages]:
    model = service.images
    assert model is not None, "something was seen"
    context, length = service.engine.ready().context, _whole_length(model, seen)
    if length >= context:
        raise context_error(length, context, param)
    pictures = seen.held.pictures

    def work() -> tuple[list[int], PromptImages]:
        keys = [model.key(picture, salt) for picture in pictures]
        inputs = [ImageInput(key, shape) for key, shape in zip(keys, seen.shapes, strict=True)]
        expanded = expand(seen.ids, inputs, model.geometry)
        images = [
            PromptImage(source.param, picture, model.want(key, picture, shape))
            for source, picture, key, shape in zip(seen.sources, pictures, keys, seen.shapes, strict=True)
        ]
        return expanded.ids, PromptImages(images, expanded.spans, expanded.position_offset, seen.held)

    if length <= INLINE_TOKENS:
        return work()
    return await asyncio.get_running_loop().run_in_executor(service.threads, work)
