"""How many messages a second one sink sends, and what each costs: ``pytest tests/bench/test_sinks.py -s``.

The sink is a process of its own, as in production, and so is the simulator; the broker is real. The
rate is that of the simulator's clock, from the first message to the last. ``SINK_CORE=1`` gives the sink
a core (taskset).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession

from tests.sinks.conftest import deploy  # noqa: F401 - a fixture

pytestmark = [pytest.mark.kafka, pytest.mark.bench]
MESSAGES = int(os.environ.get("SINK_MESSAGES", "20000"))
CUSTOMERS = 5_000
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


@pytest.mark.parametrize("delay", [0.0, 0.05], ids=["instant", "50ms"])
@pytest.mark.timeout(900)
async def test_sends_per_second(deploy: Any, tmp_path: Path, delay: float) -> None:  # noqa: F811
    """Every message once; the rest is figures."""
    command = [sys.executable, "-m", "tests.sinks.provider", str(delay)]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - once
    sink = None
    try:
        assert simulator.stdout
        port = int(simulator.stdout.readline())
        section = {
            "sender": "sendgrid",
            "api_key": "SG.x",
            "from_address": "a@acme.com",
            "url": f"http://127.0.0.1:{port}",
            "concurrency": int(os.environ.get("SINK_CONCURRENCY", "64")),
        }
        world = deploy(deliver={"email": section})
        world.put(*[world.action(n, f"c{n % CUSTOMERS}") for n in range(MESSAGES)])
        settings = world.settings
        file = tmp_path / "orchestrator.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "dev": True,
                    "kafka": {"bootstrap.servers": settings.kafka["bootstrap.servers"]},
                    "registry": {"url": settings.registry.url},
                    "topics": {"prefix": settings.topics.prefix},
                    "worker": {"data_dir": settings.worker.data_dir},
                    "deliver": {"email": section},
                }
            )
        )
        command = [sys.executable, "-m", "orchestrator", "--settings", str(file)]
        if core := os.environ.get("SINK_CORE"):
            command = ["taskset", "-c", core, *command]
        sink = subprocess.Popen([*command, "deliver", "email"])  # noqa: ASYNC220 - once
        async with ClientSession() as http:
            stats: dict[str, Any] = {"accepted": 0}
            before = 0.0
            while stats["accepted"] < MESSAGES:
                await asyncio.sleep(0.2)
                async with http.get(f"http://127.0.0.1:{port}/stats") as answer:
                    stats = await answer.json()
                before = before or (cpu_s(sink.pid) if stats["accepted"] else 0.0)
        used = cpu_s(sink.pid) - before
        print(
            f"\n{MESSAGES} messages, answers after {delay * 1000:.0f} ms: "
            f"{MESSAGES / stats['span']:.0f}/s, {used / MESSAGES * 1e6:.0f} us CPU each"
        )
        assert stats["doubles"] == 0
    finally:
        for process in filter(None, (sink, simulator)):
            process.kill()
            process.communicate()
