"""One message of every kind, with all its fields set, for tests of the wire."""

from __future__ import annotations

import msgspec

from lightllm_rs.messages import cache, control, requests, steps, telemetry
from lightllm_rs.messages.frames import PROTOCOL, pack_f32, pack_u32
from lightllm_rs.messages.images import ImageSpan
from lightllm_rs.messages.router_start import JournalStart, RouterStart, Scheduling
from lightllm_rs.messages.sampling import Sampling, TokenLogprobs

SAMPLING = Sampling(
    temperature=0.7,
    top_p=0.9,
    top_k=40,
    min_p=0.05,
    seed=2**64 - 1,
    presence=-0.5,
    frequency=1.5,
    repetition=1.1,
    min_tokens=3,
    logprobs=5,
    prompt_logprobs=0,
    end_ids=pack_u32([2, 128001]),
    bias_ids=pack_u32([7]),
    bias_values=pack_f32([-100.0]),
)
KEY = bytes(range(1, 17))
IMAGES = [
    ImageSpan(0, 4, bytes(range(16)), (1, 2, 2), True),
    ImageSpan(2**31, 2**32 - 1, bytes(16), (2**32 - 1, 0, 70_000)),
]
LOGPROBS = [TokenLogprobs(-0.25, pack_u32([5, 6]), pack_f32([-0.25, -1.5]))]

UNIONS: dict[str, list[msgspec.Struct]] = {
    "ClientMessage": [
        requests.ClientHello(PROTOCOL, "http-0"),
        requests.Add(7, pack_u32(range(300)), 16, SAMPLING, "tenant"),
        requests.Add(2**64 - 1, pack_u32([1]), 1, Sampling()),
        requests.Add(
            8,
            pack_u32([1, 2]),
            3,
            SAMPLING,
            priority=-1000,
            deadline_ms=2_000_000,
            tenant=2**64 - 1,
            class_label=2**63,
            siblings=[requests.Sibling(9, 2**64 - 1), requests.Sibling(10, 0)],
            images=IMAGES,
            position_offset=-(2**31),
        ),
        requests.ImageReady(2**64 - 1, 2**32 - 1),
        requests.Abort([1, 2**33]),
        requests.Received(123_456_789_012),
    ],
    "RouterMessage": [
        requests.RouterHello(PROTOCOL, 49152, 8192, 1000, 16, 64, True),
        requests.StepOutput(
            [
                requests.OutputRow(1, pack_u32([9])),
                requests.OutputRow(
                    2, pack_u32([2]), requests.STOP, requests.Admission(48, 1500, 2**40), LOGPROBS, 10, LOGPROBS * 2
                ),
            ]
        ),
        requests.Failed(3, "queue_full", "the queue is full: retry later", 4),
    ],
    "RankMessage": [
        steps.RankHello(PROTOCOL, 0, 2, 1000, 16, 64, 49152, 8192, True),
        steps.StepResult(
            5,
            pack_u32([0, 2]),
            pack_u32([1, 1]),
            pack_u32([11, 12]),
            [steps.RowExtra(0, LOGPROBS, 4, LOGPROBS, None), steps.RowExtra(2, error="NaN in its logits")],
            812,
        ),
        steps.StepFailed(6, 1, "out of memory"),
    ],
    "PlanMessage": [
        steps.StepPlan(
            8,
            pack_u32([3]),
            [
                steps.Attach(3, 40, SAMPLING, pack_u32(range(41))),
                steps.Attach(4, 1, Sampling(), None, -3, IMAGES),
            ],
            pack_u32([1, 2]),
            pack_u32([3, 0, 40, 3, 1, 4, 0, 1, 1, 3]),
            pack_u32([10, 11, 12, 13]),
            pack_u32(range(40)),
            pack_u32([0, 2, 1]),
        ),
        steps.RankStop(),
    ],
    "ChildMessage": [
        control.ChildHello(PROTOCOL, "router", 4711),
        control.Phase("weights", 1.25, "135 M parameters"),
        control.Ready(),
        control.Notice("the journal ends here: the disk is full"),
        control.Fatal("port 8000 is in use"),
        control.Drained(),
        control.Holds(3 << 30),
        control.MayMeasure(),
        control.Beat(True, 12),
    ],
    "SupervisorMessage": [
        control.EngineUp(3, "ipc:///run/requests-3.sock"),
        control.EngineDown("backend-0 was killed"),
        control.Drain(),
        control.CacheUp(1, "ipc:///run/cache-1.sock"),
        control.CacheDown(),
        control.Measure(3 << 30, 1 << 30),
        control.ImagesDown(4.0),
        control.ImagesUp(),
        control.Stop(),
    ],
    "HealthMessage": [
        telemetry.Heartbeat("router", True, 77, False),
        telemetry.ServiceState("serving", "visual 0 was killed by SIGKILL"),
        telemetry.HealthQuery(1),
    ],
    "MetricsMessage": [
        telemetry.Report(
            "http-0",
            1.5,
            [telemetry.Sample("request_count", 2.0, ["chat"]), telemetry.Sample("queue_size", 0.0)],
            [telemetry.Observations("request_duration", [0.25, 1.0], [])],
        ),
        telemetry.MetricsQuery(2),
        telemetry.GaugesQuery(3, ["queue_size"]),
    ],
    "TelemetryAnswer": [
        telemetry.HealthAnswer(1, False, False, "no step result for 61 s"),
        telemetry.MetricsAnswer(2, "# HELP ..."),
        telemetry.GaugesAnswer(3, [0.5, 1.0]),
    ],
    "RouterStart": [
        RouterStart(
            protocol=PROTOCOL,
            process="router",
            requests="ipc:///r",
            plans="ipc:///p",
            control="ipc:///c",
            health="ipc:///h",
            metrics="ipc:///m",
            ranks=1,
            client_bound_bytes=64 << 20,
            scheduling=Scheduling(
                step_tokens=512,
                prefill_chunk=256,
                max_step_us=80_000,
                plan_lead_us=2500,
                balance_tokens=1024,
                queue_requests=1024,
                queue_tokens=4_000_000,
                prefix_cache=True,
                mode="decode_first",
                max_wait_tokens=8,
                policy="past_future",
                policy_parameters=[("window", 500.0), ("reserve", 0.05)],
                priority_age_us=5_000_000,
                tenant_quantum=2048,
                ttft_target_us=250_000,
                refuse_late=True,
                bypass_limit=64,
                group_tokens=256,
                eviction="cost_aware",
                seed=2**63 - 1,
                debug_checks=True,
            ),
            journal=JournalStart("/tmp/journal", True, bytes(range(16))),
        )
    ],
    "CacheRequest": [
        cache.CacheHello(PROTOCOL, "http-0", 4_194_304, 123_456_789_012),
        cache.Acquire(
            1,
            [
                cache.Want(KEY, 1 << 20, 5_734_400, 1024 * 1024, 4032 * 3024, b"\x92\x01\x02"),
                cache.Want(bytes(16), 1, 1, 0, 0, b""),
            ],
        ),
        cache.Publish(2, [0, 2**40]),
        cache.Wait(3, [1, 2, 3]),
        cache.Take(4, 8, 2**33, 2**25),
        cache.Keep(5, [1, 2**40]),
        cache.PublishFeatures(5, [7]),
        cache.Fail(6, 8, "the file is truncated"),
        cache.LeaseReady(7, [KEY, bytes(16)]),
        cache.Release([1, 2**63]),
        cache.Cancel([3, 4]),
        cache.StatsQuery(2**64 - 1),
        cache.Goodbye(),
    ],
    "CacheReply": [
        cache.CacheWelcome(PROTOCOL, 77, 2**40, "/dev/shm/lightllm-rs-llrs-abc-0"),
        cache.Done(2),
        cache.Leased(
            1,
            [
                cache.Granted(
                    9,
                    KEY,
                    cache.WRITE,
                    3,
                    2**32 - 1,
                    1 << 20,
                    5_734_400,
                    1024 * 1024,
                    b"recipe",
                    pack_u32([0, 16]),
                    pack_u32([16, 40, 99, 48]),
                ),
                None,
            ],
        ),
        cache.Decided(3, bytes([cache.READY, cache.FAILED, cache.WRITE]), [(1, "the file is truncated")]),
        cache.Kept(5, b"\x01\x00"),
        cache.Refused(8, "too_large", "the items need more than there is", 2**40, 2**32),
        cache.StatsAnswer(2**64 - 1, [("queries", 100), ("hits", 2**40)]),
    ],
    "CacheStart": [
        cache.CacheStart(
            protocol=PROTOCOL,
            process="cache_manager",
            clients="ipc:///cache-0",
            control="ipc:///c",
            health="ipc:///h",
            metrics="ipc:///m",
            arena="/dev/shm/lightllm-rs-llrs-abc-0",
            bytes=2**32,
            debug_checks=True,
        )
    ],
}
"""Messages by the name of the union that receives them."""
