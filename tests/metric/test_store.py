"""The metric server's figures and its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lightllm_rs.messages.frames import encode
from lightllm_rs.messages.telemetry import (
    GaugesAnswer,
    GaugesQuery,
    MetricsAnswer,
    MetricsQuery,
    Observations,
    Report,
    Sample,
    answer_decoder,
)
from lightllm_rs.metric.catalogue import BY_NAME, CATALOGUE
from lightllm_rs.metric.main import MetricServer
from lightllm_rs.metric.page import Page
from lightllm_rs.metric.store import GAUGE_LIFE_SECONDS, MAX_LABEL_SETS, Store

ROOT = Path(__file__).parents[2]
SOURCES = {
    "http": ["python/lightllm_rs/http"],
    "router": ["rust/server/src"],
    "cache": ["rust/cache_server/src"],
    "visual": ["python/lightllm_rs/visual"],
    "supervisor": ["python/lightllm_rs/supervisor"],
    "metric": ["python/lightllm_rs/metric/store.py"],
    "any": ["python/lightllm_rs/http", "rust/server/src"],
}

# The names that dashboards and autoscalers read, and LightLLM's own.
EXPECTED_NAMES = """
vllm:num_requests_running vllm:num_requests_waiting vllm:kv_cache_usage_perc vllm:prefix_cache_queries_total
vllm:prefix_cache_hits_total vllm:prompt_tokens_total vllm:generation_tokens_total vllm:request_success_total
vllm:time_to_first_token_seconds vllm:inter_token_latency_seconds vllm:e2e_request_latency_seconds
vllm:request_queue_time_seconds lightllm_request_count_total lightllm_request_success_total
lightllm_request_failure_total lightllm_request_duration lightllm_request_validation_duration
lightllm_request_queue_duration lightllm_request_inference_duration lightllm_request_first_token_duration
lightllm_request_mean_time_per_token_duration lightllm_request_input_length lightllm_request_generated_tokens
lightllm_request_max_new_tokens lightllm_queue_size lightllm_batch_current_size lightllm_batch_pause_size
lightllm_batch_current_max_tokens lightllm_batch_next_size lightllm_batch_inference_count_total
lightllm_batch_inference_duration lightllm_cache_length lightllm_cache_ratio lightllm_cache_hit_rate
lightllm_gen_throughput lightllm_num_running_reqs lightllm_prompt_tokens_total lightllm_generation_tokens_total
"""


def values(text: str) -> dict[str, float]:
    """All samples of a page: name and labels to value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def page(store: Store) -> dict[str, float]:
    return values(Page(store).render())


def test_every_expected_name_is_on_the_page_before_anything_happened() -> None:
    text = Page(Store("tiny")).render()
    assert set(EXPECTED_NAMES.split()) <= set(re.findall(r"# HELP (\S+) ", text))
    assert len({metric.page_name for metric in CATALOGUE}) == len(CATALOGUE) == len(BY_NAME)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_every_declared_metric_is_sent_by_its_owner(metric: object) -> None:
    assert metric in CATALOGUE
    declared = BY_NAME[metric.name]  # type: ignore[attr-defined]
    files = [
        file
        for folder in SOURCES[declared.owner]
        for file in ([ROOT / folder] if folder.endswith(".py") else (ROOT / folder).rglob("*.[pr][ys]"))
    ]
    assert any(f'"{declared.name}"' in file.read_text() for file in files), f"nobody sends {declared.name}"


def test_counters_add_up_over_reports_and_processes() -> None:
    store = Store("tiny")
    for process, grown in (("http-0", 2.0), ("http-1", 3.0), ("http-0", 4.0)):
        assert store.take(Report(process, 1.0, [Sample("request_count", grown)]), 0.0) == 0
    assert page(store)["lightllm_request_count_total{}"] == 9.0
    assert store.value("request_count", 0.0) == 9.0


def test_gauges_are_summed_over_living_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = Store("tiny"), 100.0
    monkeypatch.setattr("lightllm_rs.metric.page.time.monotonic", lambda: now)
    store.take(Report("router", 1.0, [Sample("queue_size", 5.0)]), now)
    store.take(Report("other", 1.0, [Sample("queue_size", 1.0)]), now)
    store.take(Report("router", 1.0, [Sample("queue_size", 3.0)]), now)
    assert page(store)["lightllm_queue_size{}"] == 4.0
    now += GAUGE_LIFE_SECONDS - 1
    store.take(Report("router", 2.0), now)
    now += 2
    assert page(store)["lightllm_queue_size{}"] == 3.0  # "other" has not reported for too long
    assert store.value("queue_size", now) == 3.0


def test_start_times_of_the_supervisor_stay() -> None:
    store = Store("tiny")
    store.take(Report("supervisor", 1.0, [Sample("lightllm_startup_seconds", 2.5, ["backend-0", "weights"])]), 0.0)
    assert page(store)["lightllm_startup_seconds{phase=weights,process=backend-0}"] == 2.5


def test_histograms_are_cumulative() -> None:
    store = Store("tiny")
    name = "vllm:e2e_request_latency_seconds"
    store.take(Report("http-0", 1.0, observations=[Observations(name, [0.001, 0.0011, 3.0, 9999.0])]), 0.0)
    found = page(store)
    assert found[name + "_bucket{le=0.001,model_name=tiny}"] == 1
    assert found[name + "_bucket{le=0.002,model_name=tiny}"] == 2
    assert found[name + "_bucket{le=5.0,model_name=tiny}"] == 3
    assert found[name + "_bucket{le=600.0,model_name=tiny}"] == 3
    assert found[name + "_bucket{le=+Inf,model_name=tiny}"] == found[name + "_count{model_name=tiny}"] == 4
    assert found[name + "_sum{model_name=tiny}"] == pytest.approx(10002.0021)


def test_cpu_seconds_survive_a_restart_of_the_process() -> None:
    store = Store("tiny")
    for seconds in (1.0, 4.0, 0.5, 2.0):
        store.take(Report("router", seconds), 0.0)
    assert page(store)["lightllm_process_cpu_seconds_total{process=router}"] == 6.0


@pytest.mark.parametrize(
    "report",
    [
        Report("x", 0.0, [Sample("no_such_metric", 1.0)]),
        Report("x", 0.0, [Sample("request_count", -1.0)]),
        Report("x", 0.0, [Sample("request_count", float("nan"))]),
        Report("x", 0.0, [Sample("request_count", 1.0, ["surplus"])]),
        Report("x", 0.0, [Sample("lightllm_rejections_total", 1.0)]),
        Report("x", 0.0, [Sample("request_duration", 1.0)]),
        Report("x", 0.0, observations=[Observations("request_count", [1.0])]),
        Report("x", 0.0, observations=[Observations("request_duration", [float("inf")])]),
        Report("x", 0.0, observations=[Observations("no_such_metric", [1.0])]),
    ],
)
def test_what_is_not_declared_is_refused_and_counted(report: Report) -> None:
    server = MetricServer("metric", "tiny")
    before = values(ask_page(server))
    assert server.answer(encode(report)) is None
    after = values(ask_page(server))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {
        "lightllm_bad_frames_total{process=metric}",
        "lightllm_process_cpu_seconds_total{process=metric}",
        "lightllm_process_cpu_seconds_total{process=x}",
    }
    assert after["lightllm_bad_frames_total{process=metric}"] == 1.0


def test_labels_cannot_grow_the_page_without_end() -> None:
    store = Store("tiny")
    many = [Sample("lightllm_rejections_total", 1.0, [str(number)]) for number in range(MAX_LABEL_SETS + 10)]
    assert store.take(Report("http-0", 0.0, many), 0.0) == 10
    assert store.value("lightllm_rejections_total", 0.0) == MAX_LABEL_SETS


def ask_page(server: MetricServer) -> str:
    answer = server.answer(encode(MetricsQuery(7)))
    assert answer is not None
    message = answer_decoder.decode(answer)
    assert isinstance(message, MetricsAnswer)
    assert message.query == 7
    return message.text


def test_gauges_are_asked_for_by_name() -> None:
    server = MetricServer("metric", "tiny")
    server.answer(encode(Report("router", 0.0, [Sample("queue_size", 5.0), Sample("vllm:num_requests_running", 2.0)])))
    names = ["vllm:num_requests_running", "queue_size", "cache_ratio", "no_such_metric"]
    answer = server.answer(encode(GaugesQuery(3, names)))
    assert answer is not None
    assert answer_decoder.decode(answer) == GaugesAnswer(3, [2.0, 5.0, 0.0, 0.0])


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"\x93\xa6report\x01", b"\x91" * 2000, b"\x92\xa4none\x01"])
def test_bytes_that_are_no_frame_are_counted(frame: bytes) -> None:
    server = MetricServer("metric", "tiny")
    assert server.answer(frame) is None
    assert values(ask_page(server))["lightllm_bad_frames_total{process=metric}"] == 1.0


def test_awkward_labels_survive_the_page() -> None:
    store = Store('a "model"\n\\name')
    store.take(Report("http-0", 0.0, [Sample("vllm:request_success_total", 1.0, ["stop"])]), 0.0)
    found = [
        sample
        for family in text_string_to_metric_families(Page(store).render())
        for sample in family.samples
        if sample.name == "vllm:request_success_total"
    ]
    assert [sample.labels["model_name"] for sample in found] == ['a "model"\n\\name']
