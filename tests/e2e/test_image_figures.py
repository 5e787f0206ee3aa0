"""Every declared figure of images is observed: one service, and requests that move each of them."""

from __future__ import annotations

import signal
from pathlib import Path

from e2e.test_image_recovery import FLAGS, PATIENT, Ask, join, picture
from helpers.asking import leaving
from helpers.metrics_page import metric, metrics_page, total
from helpers.running_service import RunningService, serve_command
from helpers.seeing_service import image_part, make_seeing_folder, noise, png
from lightllm_rs.metric.catalogue import CATALOGUE

OF_IMAGES = [metric for metric in CATALOGUE if "image" in metric.name or metric.owner in ("cache", "visual")]


def test_every_figure_of_images_moves(tmp_path: Path) -> None:
    folder = make_seeing_folder(tmp_path / "tiny-internvl", "internvl")
    base = tmp_path / "r"
    base.mkdir()
    small = ("--mm-cache-size", "0.001", "--log-stats-interval", "1")  # 1 MiB
    with RunningService(serve_command(str(folder), *FLAGS, *PATIENT, *small), base) as service:
        url = service.wait_ready()
        seen = dict.fromkeys((one.page_name for one in OF_IMAGES), 0.0)

        def look() -> bool:
            page = metrics_page(url)
            for one in OF_IMAGES:
                name = one.page_name + ("_count" if one.kind == "histogram" else "")
                seen[one.page_name] = max(seen[one.page_name], total(page, name))
            return True

        for content in (picture(1), picture(1), [image_part(png(noise(64, 64))[:300])]):  # new, a hit, a failure
            join([Ask(url, content)])
        visual = service.children()["visual-0"]
        visual.send_signal(signal.SIGSTOP)
        twins = [Ask(url, [image_part(noise(201, 200))]) for _ in range(2)]
        service.wait_for(lambda: look() and seen["lightllm_mm_cache_joins_total"])
        large = [Ask(url, [image_part(noise(200, 200, seed))]) for seed in range(12)]  # 120 kB each: some must wait
        waiting = ("lightllm_mm_cache_waiters", "lightllm_mm_cache_queue", "lightllm_requests_awaiting_images")
        service.wait_for(lambda: look() and all(seen[name] for name in waiting))
        service.wait_for(lambda: any("image wait" in line and "visual queue" in line for line in service.stderr))
        service.kill("cache")
        visual.send_signal(signal.SIGCONT)
        join([*large, *twins])
        visual.send_signal(signal.SIGSTOP)
        for seed in (2, 3):  # the visual server may have taken one of them
            asked = metric(url, "lightllm_mm_cache_queries_total")
            with leaving(url, picture(seed)):
                service.wait_for(lambda before=asked: metric(url, "lightllm_mm_cache_queries_total") > before)
        service.wait_for(lambda: look() and seen["lightllm_mm_cache_abandoned_total"])
        visual.send_signal(signal.SIGCONT)
        former = service.kill("http-0")
        service.wait_for(service.restarted("http-0", former))
        try:
            service.wait_for(lambda: look() and all(seen.values()))
        except AssertionError:
            raise AssertionError([name for name, value in seen.items() if not value]) from None
        assert 0.9 < metric(url, "lightllm_mm_cache_total_bytes") / 2**20 < 1.1
        assert service.end() == 0
        service.assert_nothing_left()
