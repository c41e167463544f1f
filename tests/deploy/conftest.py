"""A whole deployment with a workspace so small that nothing but the machinery can go wrong."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from orchestrator.testing.broker import Broker
from orchestrator.testing.ports import free_ports
from orchestrator.testing.stack import Stack

WORKSPACE = {
    "profile.yaml": "identities: {primary: user_id, also: [email]}\n",
    "policy.yaml": "timezone: UTC\nchannels: {sales: {audience: internal}}\n",
    "messages/lead.yaml": (
        "message: lead\ncategory: sales\nclass: transactional\n"
        "channels: {sales: {title: A lead, text: Call them}}\n"
    ),
    "journeys/leads.yaml": (
        "journey: leads\nentry: {on: trial.started, re_entry: always}\nsteps:\n"
        "  - {id: pause, wait: {for: PT1S}}\n"
        "  - {id: alert, send: {message: lead, channel: sales}}\n"
        "  - {id: pricing, wait_for: {first: [{on: pricing.viewed, then: again}], timeout: P1D}}\n"
        "  - {id: over, stop: true}\n"
        "  - {id: again, send: {message: lead, channel: sales, again: true}}\n"
    ),
}


@pytest.fixture(scope="package")
def stack(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Worker, collector and one sink as processes, ready."""
    folder = tmp_path_factory.mktemp("workspace")
    for name, text in WORKSPACE.items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    (port,) = free_ports(1)
    sales = {"sender": "log", "web_port": port}
    prefix = f"t{uuid.uuid4().hex[:12]}"
    with Stack(
        folder, broker=broker, prefix=prefix, settings={"deliver": {"sales": sales}}
    ) as running:
        running.start("worker")
        running.start("collect")
        running.start("deliver", "sales")
        running.wait_ready("worker", f"{running.worker_url}/readyz")
        running.wait_ready("collect", f"{running.collector_url}/readyz")
        running.wait_ready("deliver-sales", f"http://127.0.0.1:{port}/readyz")
        yield running


def until(condition: Callable[[], bool], stack: Stack, seconds: float = 60.0) -> None:
    """Wait for ``condition``; fail with the roles' last words."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(stack.last_words())
        time.sleep(0.2)
