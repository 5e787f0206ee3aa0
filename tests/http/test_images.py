"""Images in requests: read, refused with the name of the part, and brought in."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.bad_host import bad_host, silent
from helpers.garbage import no_collector, until_gone
from helpers.image_parts import DATA, PNG, image, message, text, unseen
from lightllm_rs.http.body import ClientGone
from lightllm_rs.http.conversation import prompt_of
from lightllm_rs.http.errors import ApiError
from lightllm_rs.http.images import picture_error, sources_of_messages, sources_of_native, take_images
from lightllm_rs.http.schemas.chat import Message
from lightllm_rs.http.schemas.native import MultimodalParams
from lightllm_rs.media import Fetcher, Limits, Loader
from lightllm_rs.tokenizer import ChatTemplate

PATIENT = Limits(fetch_seconds=60.0)


def in_service(work: Callable[[Any], Awaitable[Any]], limits: Limits = PATIENT) -> Any:
    """Runs `work` with a service that takes images."""

    async def run() -> Any:
        async with bad_host() as host:
            host.pages["/silent"] = silent
            service = SimpleNamespace(media=Loader(limits, Fetcher(limits, host.network)), host=host)
            try:
                return await work(service)
            finally:
                service.media.close()

    return asyncio.run(run())


def sources(*messages: Message, limits: Limits = PATIENT) -> Any:
    async def work(service: Any) -> Any:
        return sources_of_messages(service, messages)

    return in_service(work, limits)


def error_of(work: Callable[[], Any]) -> ApiError:
    with pytest.raises(ApiError) as error:
        work()
    assert error.value.status == 400
    return error.value


def test_sources_keep_the_order_of_the_prompt() -> None:
    found = sources(
        message(text("a"), image(DATA), text("b"), image("http://pictures.example/1", detail="low")),
        message(text("only text")),
        message(image("https://pictures.example/2", detail="high"), {"type": "image_url", "image_url": DATA}),
    )
    assert [(source.param, source.kind, source.detail) for source in found] == [
        ("messages.0.content.1.image_url", "inline", "auto"),
        ("messages.0.content.3.image_url", "remote", "low"),
        ("messages.2.content.0.image_url", "remote", "high"),
        ("messages.2.content.1.image_url", "inline", "auto"),
    ]
    assert message(image(DATA, detail=None)).content[0].detail == "auto"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url"},
        {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": 5},
        {"type": "image_url", "image_url": {"url": None}},
        image(DATA, detail="most"),
        image(DATA, detail=5),
        {"type": "video_url", "video_url": {"url": DATA}},
        {"type": 5},
        5,
    ],
)
def test_parts_of_the_wrong_shape(part: Any) -> None:
    with pytest.raises(ValidationError, match="part 1"):
        message(text("a"), part)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("a.png", "must begin with"),
        ("ftp://example.org/", "must begin with"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://a:b@example.org/", "user name"),
        ("data:image/png,x", "base64"),
        ("file:///etc/passwd", "reads no files"),
    ],
)
def test_what_can_be_refused_at_once_is(url: str, says: str) -> None:
    error = error_of(lambda: sources(message(image(DATA), image(url))))
    assert error.param == "messages.0.content.1.image_url"
    assert error.message.startswith(error.param + ": ")
    assert says in error.message
    assert error.code == "invalid_image_url"


def test_domains_and_numbers_of_images() -> None:
    limits = replace(PATIENT, domains=("pictures.example",), images=2)
    assert len(sources(message(image("http://pictures.example/a"), image(DATA)), limits=limits)) == 2
    error = error_of(lambda: sources(message(image("http://other.example/a")), limits=limits))
    assert "not allowed" in error.message
    error = error_of(lambda: sources(*[message(image(DATA))] * 3, limits=limits))
    assert (error.param, error.code) == ("messages.2.content.0.image_url", "too_many_images")
    assert "3 images" in error.message
    assert "at most 2" in error.message


def test_a_body_does_not_keep_what_its_sources_have() -> None:
    async def work(service: Any) -> None:
        one = message(text("a"), image(DATA, detail="low"), text("b"))
        assert sources_of_messages(service, [one])[0].text == DATA.partition(",")[2]
        assert [getattr(part, "url", None) for part in one.content] == [None, "", None]
        params = MultimodalParams.model_validate({"images": [{"type": "url", "data": DATA}]})
        assert sources_of_native(service, params)[0].text == DATA.partition(",")[2]
        assert [given.data for given in params.images or []] == [""]

    in_service(work)


def test_native_sources() -> None:
    async def work(service: Any) -> Any:
        images = [{"type": "base64", "data": DATA.partition(",")[2]}, {"type": "base64", "data": DATA}]
        images += [{"type": "url", "data": DATA}, {"type": "url", "data": "http://pictures.example/"}]
        found = sources_of_native(service, MultimodalParams.model_validate({"images": images}))
        assert [source.kind for source in found] == ["inline"] * 3 + ["remote"]
        assert [source.param for source in found] == [f"multimodal_params.images.{number}" for number in range(4)]
        assert len({source.text for source in found[:3]}) == 1
        wrong = MultimodalParams.model_validate({"images": [{"type": "url", "data": "x"}]})
        with pytest.raises(ApiError, match=r"multimodal_params\.images\.0: the URL must begin"):
            sources_of_native(service, wrong)

    in_service(work)


def prompt(template: ChatTemplate, *messages: Message) -> str:
    service: Any = SimpleNamespace(tokenizer=SimpleNamespace(chat_template=template), threads=None)
    return asyncio.run(prompt_of(service, list(messages), True, None))


SEES = """{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}\
{% if c.type == 'image' %}<image>{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %};{% endfor %}"""


def test_the_template_sees_parts_where_there_are_images() -> None:
    template = ChatTemplate(SEES, {})
    one = message(text("a"), image(DATA), text("b"), image("http://x.example/"))
    assert prompt(template, one, message(text("c"), text("d"))) == "a<image>b<image>;c\nd;"
    assert prompt(template, one, Message(role="user", content="<e>")) == "a<image>b<image>;<e>;"
    parts_alone = "{% for m in messages %}{% for c in m.content %}{{ c.text or c.type }}{% endfor %};{% endfor %}"
    template = ChatTemplate(parts_alone, {})
    assert prompt(template, one, Message(role="user", content="<e>")) == "aimagebimage;<e>;"


def receive_never() -> Any:
    async def receive() -> Any:
        await asyncio.sleep(3600)

    return SimpleNamespace(receive=receive)


def test_images_come_in_and_are_given_back() -> None:
    async def work(service: Any) -> None:
        named = sources_of_messages(service, [message(image(DATA), image(DATA, detail="low"))])
        held = await take_images(receive_never(), service, named)
        assert [(picture.width, picture.height) for picture in held.pictures] == [(20, 10)] * 2
        assert service.media.held == 2 * len(PNG)
        held.close()
        assert service.media.held == 0

    in_service(work)


def test_a_bad_image_is_named() -> None:
    async def work(service: Any) -> None:
        named = sources_of_messages(service, [message(image(DATA), image("data:;base64,AAAA"))])
        with pytest.raises(ApiError) as error:
            await take_images(receive_never(), service, named)
        assert error.value.param == "messages.0.content.1.image_url"
        assert error.value.status == 400
        later = picture_error(named[1].param, "the image is damaged or cut off")
        assert (later.status, later.param) == (400, error.value.param)
        assert service.media.held == 0

    in_service(work)


def test_too_much_at_once_is_a_503() -> None:
    async def work(service: Any) -> None:
        named = sources_of_messages(service, [message(image(DATA))])
        taken = [await take_images(receive_never(), service, named) for _ in range(8)]
        with pytest.raises(ApiError) as error:
            await take_images(receive_never(), service, named)
        assert (error.value.status, error.value.code) == (503, "overloaded")
        assert error.value.retry_after
        for held in taken:
            held.close()

    in_service(work, replace(PATIENT, held_bytes=8 * len(PNG)))


def test_a_client_that_leaves_ends_the_fetching() -> None:
    async def work(service: Any) -> None:
        named = sources_of_messages(service, [message(image(DATA), image("http://pictures.example/silent"))])

        async def receive() -> Any:
            await service.host.until(1)
            return {"type": "http.disconnect"}

        with pytest.raises(ClientGone):
            await take_images(SimpleNamespace(receive=receive), service, named)  # type: ignore[arg-type]
        await service.host.until(0)
        assert service.media.held == 0

    in_service(work)


def test_a_handler_that_is_cancelled_holds_nothing() -> None:
    async def work(service: Any) -> None:
        for others in ([], [image("http://pictures.example/silent")]):
            for turns in range(12):
                named = sources_of_messages(service, [message(unseen(turns), *others)])
                task = asyncio.create_task(take_images(receive_never(), service, named))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.done():  # the thread was fast
                    task.result().close()
                    continue
                task.cancel()
                (outcome,) = await asyncio.gather(task, return_exceptions=True)
                assert isinstance(outcome, asyncio.CancelledError)
                await service.host.until(0)
                assert service.media.held == 0

    in_service(work)


def test_a_handler_that_is_cancelled_with_its_pictures_in_hand_holds_nothing() -> None:
    """In each turn of the event loop between the last picture and the caller."""

    async def work(service: Any) -> None:
        cancelled = 0
        while True:
            named = sources_of_messages(service, [message(unseen(cancelled))])
            task = asyncio.create_task(take_images(receive_never(), service, named))
            while not service.media.held and not task.done():  # noqa: ASYNC110 (an event would be seen a turn late)
                await asyncio.sleep(0)
            for _ in range(cancelled):
                await asyncio.sleep(0)
            if task.done():
                task.result().close()
                break
            task.cancel()
            (outcome,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(outcome, asyncio.CancelledError)
            await asyncio.sleep(0)
            assert service.media.held == 0, cancelled
            cancelled += 1
        assert cancelled > 2, "there were such turns"
        assert service.media.held == 0

    in_service(work)


def test_a_refused_image_does_not_wait_for_the_garbage_collector() -> None:
    async def work(service: Any) -> None:
        named = sources_of_messages(service, [message(image("data:;base64,AAAA"))])
        gone = weakref.ref(named[0])
        with no_collector():
            with contextlib.suppress(ApiError):
                await take_images(receive_never(), service, named)
            del named
            await until_gone(gone)

    in_service(work)
