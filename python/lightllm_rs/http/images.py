"""The images that a request names: which they are, in the order of its prompt, and how they come in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.requests import Request

from lightllm_rs.http.body import ClientGone
from lightllm_rs.http.errors import ApiError, bad_request, unavailable
from lightllm_rs.http.schemas.chat import Message
from lightllm_rs.http.schemas.content import ImagePart
from lightllm_rs.http.schemas.native import MultimodalParams
from lightllm_rs.http.service import Service
from lightllm_rs.media import Held, MediaError, Overloaded, Source, source_of_base64, source_of_url

Reader = Callable[[], Source]
"""Reads what stands in one part."""


def sources_of_messages(service: Service, messages: Sequence[Message]) -> list[Source]:
    """Takes the images out of a conversation; their places stay. Raises ApiError 400 that names the part at fault."""
    readers: list[tuple[str, Reader]] = []
    for number, message in enumerate(messages):
        if not isinstance(message.content, list):
            continue
        for place, part in enumerate(message.content):
            if isinstance(part, ImagePart):
                param = f"messages.{number}.content.{place}.image_url"
                readers.append((param, _reader(source_of_url, param, part.url, part.detail)))
                # The body lives as long as its request, and megabytes of base64 need not.
                message.content[place] = ImagePart("", part.detail)
    return _read(service, readers)


def sources_of_native(service: Service, params: MultimodalParams | None) -> list[Source]:
    """The images of a native request, likewise."""
    readers: list[tuple[str, Reader]] = []
    for number, image in enumerate((params.images if params else None) or []):
        param = f"multimodal_params.images.{number}"
        read = source_of_url if image.type == "url" else source_of_base64
        readers.append((param, _reader(read, param, image.data)))
        image.data = ""
    return _read(service, readers)


def _reader(read: Callable[..., Source], *arguments: str) -> Reader:
    return lambda: read(*arguments)


def _read(service: Service, readers: Sequence[tuple[str, Reader]]) -> list[Source]:
    if not readers:
        return []
    media = service.media
    if media is None:
        param = readers[0][0]
        raise bad_request(f"{param}: this model takes no images", param, "unsupported")
    most = media.limits.images
    if len(readers) > most:
        raise bad_request(
            f"the prompt has {len(readers)} images and this server takes at most {most}",
            readers[most][0],
            "too_many_images",
        )
    sources = []
    for param, read in readers:
        try:
            source = read()
            media.check(source)
        except MediaError as error:
            raise _refusal(param, error.message, error.code) from None
        sources.append(source)
    return sources


async def take_images(request: Request, service: Service, sources: Sequence[Source], salt: str = "") -> Held:
    """The pictures of `sources`; who calls closes them.

    Raises ApiError 400 that names the part at fault, 503 when too much comes in at once, or ClientGone when the client
    leaves meanwhile.
    """
    assert service.media is not None, "no sources are given out without it"
    held = service.media.take_at_once(sources, salt)
    if held is not None:
        return held
    taking = asyncio.create_task(service.media.take(sources, salt))
    try:
        await _until_done(taking, request)
        return taking.result()  # and no await before the caller has it: who is cancelled there closes nothing
    except MediaError as error:
        raise _refusal(error.param or "images", error.message, error.code) from None
    except Overloaded as error:
        raise unavailable(str(error), "overloaded") from None
    except asyncio.CancelledError:
        taking.add_done_callback(_close_late)
        raise
    finally:
        del taking  # an error knows this frame: with its task it would wait for the garbage collector


async def _until_done(taking: asyncio.Task[Held], request: Request) -> None:
    """Ends `taking` too when the client leaves, which is a ClientGone, and when it is cancelled itself."""
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((taking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            raise ClientGone
    finally:
        leaving.cancel()
        taking.cancel()
        await asyncio.gather(taking, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _close_late(taking: asyncio.Task[Held]) -> None:
    if not taking.cancelled() and taking.exception() is None:
        taking.result().close()


def picture_error(param: str, message: str, code: str = "invalid_image") -> ApiError:
    """The error for a picture that turned out bad later; `param` is its source's."""
    return _refusal(param, message, code)


def _refusal(param: str, message: str, code: str) -> ApiError:
    return bad_request(f"{param}: {message}", param, code)
