"""Lines of requests, late and together."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lightllm_rs.http import access_log


def test_lines_come_together_and_in_order(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "LATE_SECONDS", 0.0)
    logger = logging.getLogger(access_log.NAME)

    async def serve() -> str:
        lines = access_log.open_access_log()
        logger.setLevel(logging.INFO)
        try:
            for number in range(3):
                logger.info("GET /%d", number)
            at_once = capsys.readouterr().err
            for _ in range(5):  # turns of the loop
                await asyncio.sleep(0)
            later = capsys.readouterr().err
            logger.info("the last one")
            lines.flush()  # as at the end of the process
            return at_once + "|" + later + "|" + capsys.readouterr().err
        finally:
            logger.removeHandler(lines)
            logger.propagate = True
            logger.setLevel(logging.NOTSET)

    at_once, later, last = asyncio.run(serve()).split("|")
    assert at_once == ""
    assert [line.split()[-1] for line in later.splitlines()] == ["/0", "/1", "/2"]
    assert last.endswith("the last one\n")
