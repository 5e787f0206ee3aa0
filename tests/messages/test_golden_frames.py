"""The Python structs and the Rust ones say the same, byte for byte; and what is no frame is refused, never a crash."""

from __future__ import annotations

import random

import msgspec
import pytest

from lightllm_rs import _core
from lightllm_rs.messages import cache, control, requests, steps, telemetry
from lightllm_rs.messages.frames import MAX_FRAME_BYTES, BadFrame, FrameDecoder, encode, unpack_f32, unpack_u32
from messages.samples import UNIONS

DECODERS: dict[str, FrameDecoder] = {
    "ClientMessage": requests.client_decoder,
    "RouterMessage": requests.router_decoder,
    "RankMessage": steps.rank_decoder,
    "PlanMessage": steps.plan_decoder,
    "ChildMessage": control.child_decoder,
    "SupervisorMessage": control.supervisor_decoder,
    "HealthMessage": telemetry.health_decoder,
    "MetricsMessage": telemetry.metrics_decoder,
    "TelemetryAnswer": telemetry.answer_decoder,
    "CacheRequest": cache.cache_request_decoder,
    "CacheReply": cache.cache_reply_decoder,
}

CASES = [(union, message) for union, messages in UNIONS.items() for message in messages]


@pytest.mark.parametrize(("union", "message"), CASES, ids=lambda value: type(value).__name__)
def test_rust_writes_the_bytes_that_python_writes(union: str, message: msgspec.Struct) -> None:
    frame = encode(message)
    again = _core.reencode_frame(union, frame)
    assert again == frame
    if union in DECODERS:
        assert DECODERS[union].decode(again) == message


def test_every_message_of_every_union_has_a_sample() -> None:
    for union, decoder in DECODERS.items():
        members = decoder._decoder.type.__args__
        assert {type(message) for message in UNIONS[union]} == set(members), union


@pytest.mark.parametrize("union", sorted(UNIONS))
def test_random_and_mangled_bytes_are_refused_by_both_sides(union: str) -> None:
    draw = random.Random(union)
    frames = [encode(message) for message in UNIONS[union]]
    refused = 0
    for _ in range(3000):
        if draw.random() < 0.3:
            frame = draw.randbytes(draw.randrange(0, 64))
        else:
            mangled = bytearray(draw.choice(frames))
            for _ in range(draw.randrange(1, 4)):
                mangled[draw.randrange(len(mangled))] = draw.randrange(256)
            frame = bytes(mangled[: draw.randrange(1, len(mangled) + 1)])
        try:
            _core.reencode_frame(union, frame)
        except _core.FrameError:
            refused += 1
        if union in DECODERS:
            try:
                DECODERS[union].decode(frame)
            except BadFrame:
                refused += 1
    assert refused > 1000


def test_a_frame_over_the_limit_is_refused() -> None:
    frame = b"\xc6" + (MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(MAX_FRAME_BYTES + 1)
    with pytest.raises(BadFrame, match="over the limit"):
        steps.plan_decoder.decode(frame)
    with pytest.raises(_core.FrameError, match="over the limit"):
        _core.reencode_frame("PlanMessage", frame)


def test_deeply_nested_arrays_are_refused() -> None:
    frame = b"\x91" * 200_000
    with pytest.raises(BadFrame):
        steps.plan_decoder.decode(frame)
    with pytest.raises(_core.FrameError):
        _core.reencode_frame("PlanMessage", frame)


def test_words_must_be_whole() -> None:
    with pytest.raises(BadFrame):
        unpack_u32(b"123")
    with pytest.raises(BadFrame):
        unpack_f32(b"12345")


def test_an_unknown_union_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no union Nonsense"):
        _core.reencode_frame("Nonsense", b"\x90")
