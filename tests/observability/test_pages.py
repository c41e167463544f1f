"""The pages of a role: alive is not ready, and not ready says why."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.observability.pages import serve_pages


async def fetch(port: int, path: str) -> tuple[int, str, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, answer.headers["Content-Type"], await answer.text()


@pytest.mark.parametrize(
    ("waiting", "status", "body"),
    [
        ({}, 200, '{"ready": true, "waiting": {}}'),
        ({"group": "opening"}, 503, '{"ready": false, "waiting": {"group": "opening"}}'),
    ],
)
async def test_ready_when_nothing_is_waited_for(waiting, status, body):
    async with serve_pages("127.0.0.1", 0, lambda: waiting) as port:
        assert (await fetch(port, "/readyz"))[::2] == (status, body)
        assert (await fetch(port, "/livez"))[::2] == (200, "ok\n")


async def test_metrics_are_prometheus_text():
    async with serve_pages("127.0.0.1", 0, dict) as port:
        status, kind, text = await fetch(port, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert any(
        family.name == "process_cpu_seconds" for family in text_string_to_metric_families(text)
    )
