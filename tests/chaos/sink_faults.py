"""Sinks under kill -9, SIGSTOP and a broker that goes away, against a provider that counts.

Run by hand (minutes): ``pytest tests/chaos/sink_faults.py -s``. Each action has one end in the receipts;
what may have been sent twice, or not at all, is among those that say so.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.testing.broker import Broker
from tests.chaos.dying_sink import POINTS
from tests.sinks.conftest import Deployment, deploy  # noqa: F401 - a fixture
from tests.sinks.provider import Provider, serving
from tests.sinks.test_deliver import delivering, until

pytestmark = [pytest.mark.kafka, pytest.mark.chaos]
ACTIONS, CUSTOMERS, CONCURRENCY = 120, 40, 8
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def section(kind: str, provider: Provider, on_unknown: str) -> dict[str, Any]:
    """``webhook``: its receiver drops what it has seen. ``sendgrid``: nobody does."""
    common = {"concurrency": CONCURRENCY, "on_unknown": on_unknown, "timeout_s": 60}
    if kind == "webhook":
        return {
            "sender": "webhook",
            "url": f"{provider.url}/",
            "secret": SECRET,
            "allow_http": True,
            "allow": ["127.0.0.0/8"],
            "ports": [provider.port],
            **common,
        }
    return {
        "sender": "sendgrid",
        "api_key": "SG.x",
        "from_address": "a@acme.com",
        "url": provider.url,
        **common,
    }


def write_settings(path: Path, world: Deployment) -> Path:
    settings = world.settings
    file = path / "orchestrator.yaml"
    deliver = settings.deliver["email"]
    shown = {
        name: value.reveal() if hasattr(value, "reveal") else value
        for name in deliver.__struct_fields__
        if (value := getattr(deliver, name)) is not None
    }
    file.write_text(
        yaml.safe_dump(
            {
                "dev": True,
                "kafka": {
                    "bootstrap.servers": settings.kafka["bootstrap.servers"],
                    "session.timeout.ms": 6000,
                },
                "registry": {"url": settings.registry.url},
                "topics": {"prefix": settings.topics.prefix},
                "worker": {"data_dir": settings.worker.data_dir},
                "deliver": {"email": {"sender": deliver.__struct_config__.tag, **shown}},
            }
        )
    )
    return file


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    running = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-m", *command])
    try:
        yield running
    finally:
        running.kill()
        await asyncio.to_thread(running.communicate)


def ends(world: Deployment) -> dict[str, Any]:
    """Action -> the receipt of its end; there is one of each."""
    found = [one for one in world.records("events") if type(one).__name__ == "Event"]
    assert max(Counter(one.event_id for one in found).values(), default=1) == 1
    assert max(Counter(one.properties["action_id"] for one in found).values(), default=1) == 1
    return {one.properties["action_id"]: one for one in found}


def judge(world: Deployment, provider: Provider, kind: str, on_unknown: str, kills: int) -> None:
    receipts = ends(world)
    assert len(receipts) == ACTIONS
    copies = Counter(provider.accepted)
    twice = {id_ for id_, count in copies.items() if count > 1}
    accepted = {id_ for id_, one in receipts.items() if one.type == "message.accepted"}
    unknown = {id_ for id_, one in receipts.items() if one.properties.get("reason") == "unknown"}
    said = {id_ for id_, one in receipts.items() if one.properties.get("maybe_twice")}
    print(  # noqa: T201 - figures are what it is for
        f"\n{kind} {on_unknown}: {kills} kills, {len(twice)} doubled, {len(said)} reported as maybe "
        f"twice, {len(unknown)} as unknown, of these {len(unknown & copies.keys())} had arrived"
    )
    assert accepted | unknown == receipts.keys()
    assert accepted <= copies.keys(), "reported as accepted and never sent"
    if kind == "webhook":
        assert (len(accepted), provider.doubles) == (ACTIONS, 0)
    elif on_unknown == "resend":
        assert twice <= said, "a double that nobody reported"
        assert max(provider.doubles, len(said)) <= kills * CONCURRENCY
        assert len(accepted) == ACTIONS
    else:
        assert provider.doubles == 0
        assert len(unknown) <= kills * CONCURRENCY


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "on_unknown"),
    [("webhook", "resend"), ("sendgrid", "resend"), ("sendgrid", "give_up")],
)
async def test_killed_at_every_point_of_a_send(
    deploy: Any,  # noqa: F811
    tmp_path: Path,
    kind: str,
    on_unknown: str,
) -> None:
    """Eight deaths in a row over the same log; the ninth sink finds everything in order."""
    async with serving(Provider(dedup=kind == "webhook")) as provider:
        world = deploy(deliver={"email": section(kind, provider, on_unknown)})
        world.put(*[world.action(n, f"c{n % CUSTOMERS}") for n in range(ACTIONS)])
        file = str(write_settings(tmp_path, world))
        for point in POINTS:
            async with process("tests.chaos.dying_sink", file, "email", point, "2") as sink:
                assert await asyncio.to_thread(sink.wait, 120) == -signal.SIGKILL, point
        for fault in ("hang", "accept_hang"):
            provider.fault = lambda _, fault=fault: fault
            async with process("orchestrator", "--settings", file, "deliver", "email"):
                await until(lambda: provider.in_flight >= CONCURRENCY)
            await until(lambda: provider.in_flight == 0)
        provider.fault = lambda _: None
        async with delivering(world.settings, "email"):
            await until(lambda: len(ends(world)) == ACTIONS)
        judge(world, provider, kind, on_unknown, len(POINTS) + 2)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("on_unknown", ["resend", "give_up"])
async def test_frozen_for_longer_than_its_session(
    deploy: Any,  # noqa: F811
    tmp_path: Path,
    on_unknown: str,
) -> None:
    """SIGSTOP with calls in flight; a second sink takes over; then the first wakes up again.

    Beyond the calls that were in flight it sends nothing: its claims are not its any more.
    """
    async with serving(Provider()) as provider:
        world = deploy(deliver={"email": section("sendgrid", provider, on_unknown)})
        world.put(*[world.action(n, f"c{n % CUSTOMERS}") for n in range(ACTIONS)])
        file = str(write_settings(tmp_path, world))
        provider.delay = 0.05
        async with process("orchestrator", "--settings", file, "deliver", "email") as frozen:
            await until(lambda: len(provider.accepted) > CONCURRENCY)
            os.kill(frozen.pid, signal.SIGSTOP)
            other = deploy(
                deliver={"email": section("sendgrid", provider, on_unknown)},
                worker__data_dir=world.settings.worker.data_dir + "2",
            )
            async with delivering(other.settings, "email"):
                await until(lambda: len(provider.accepted) > ACTIONS // 2)
                os.kill(frozen.pid, signal.SIGCONT)
                await until(lambda: len(ends(world)) == ACTIONS)
                assert frozen.poll() is None
                # What it still does: it is a member again, and whatever it sends is counted.
                more = [other.action(n, f"c{n % CUSTOMERS}") for n in range(ACTIONS, ACTIONS + 40)]
                other.put(*more)
                await until(lambda: len(ends(world)) == ACTIONS + 40)
        receipts = ends(world)
        copies = Counter(provider.accepted)
        twice = {id_ for id_, count in copies.items() if count > 1}
        said = {id_ for id_, one in receipts.items() if one.properties.get("maybe_twice")}
        unknown = {i for i, one in receipts.items() if one.properties.get("reason") == "unknown"}
        print(  # noqa: T201 - figures are what it is for
            f"\nfrozen, {on_unknown}: {len(twice)} doubled, {len(said)} said, {len(unknown)} unknown"
        )
        assert twice <= said
        assert len(said | unknown) <= CONCURRENCY
        if on_unknown == "give_up":
            assert not twice


@pytest.mark.timeout(600)
async def test_the_broker_goes_away_with_calls_in_flight(
    deploy: Any,  # noqa: F811
    broker: Broker,
) -> None:
    """Killed and started again while the provider answers: no double, no loss, nothing unknown."""
    async with serving(Provider()) as provider:
        world = deploy(deliver={"email": section("sendgrid", provider, "give_up")})
        world.put(*[world.action(n, f"c{n % CUSTOMERS}") for n in range(ACTIONS)])
        provider.delay = 0.2
        async with delivering(world.settings, "email"):
            for share in (0.2, 0.5):
                await until(lambda share=share: len(provider.accepted) > ACTIONS * share)
                await asyncio.to_thread(broker.kill)
                await asyncio.to_thread(broker.restart)
            await until(lambda: len(ends(world)) == ACTIONS)
        assert sorted(provider.accepted) == [f"a{n:05}" for n in range(ACTIONS)]
        assert {one.type for one in ends(world).values()} == {"message.accepted"}
