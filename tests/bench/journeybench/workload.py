"""The product's events and workspace: the example's, and copies of its journey where many are wanted."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.records import Event

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example"
BEGIN = 1_772_532_000_000
"""2026-03-03T10:00Z, a Tuesday."""
SPAN_MS = 14 * 86_400_000
"""As long as the opponents' log: waits end, sends come out of quiet hours, caps and gaps fill."""
KINDS = (
    ["feature.used"] * 34
    + ["pricing.viewed"] * 10
    + ["trial.started"] * 8
    + ["customer.updated"] * 6
    + ["message.opened"] * 2
    + ["consent.granted"] * 8
    + ["subscription.started"]
)


def workspace(folder: Path, journeys: int) -> Path:
    """Lay the example down with ``journeys`` copies of its journey; return where.

    Each copy has an entry event and a condition on a trait of its own; the events of ``events`` are
    spread over all of them, so a customer takes part in as many as before.
    """
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("demo", "tests", "sources"))
    text = (folder / "journeys" / "trial-to-paid.yaml").read_text()
    profile, known = folder / "profile.yaml", folder / "events.yaml"
    for number in range(1, journeys):
        copy = text.replace("journey: trial-to-paid", f"journey: trial-to-paid-{number}")
        copy = copy.replace("on: trial.started", f"on: trial{number}.started")
        copy = copy.replace(
            "when: 'profile.plan != \"free\"'", f"when: 'profile.trait{number} == \"gone\"'"
        )
        (folder / "journeys" / f"trial-to-paid-{number}.yaml").write_text(copy)
        with profile.open("a") as file:
            file.write(f"  trait{number}: {{type: string}}\n")
        with known.open("a") as file:
            file.write(f"trial{number}.started: {{}}\n")
    return folder


def events(
    count: int,
    customers: int,
    seed: int = 1,
    journeys: int = 1,
    begin: int = BEGIN,
    span_ms: int = SPAN_MS,
) -> Iterator[tuple[bytes, Event]]:
    """Yield (key, event) in the order of time; a customer's first one tells who he is."""
    rnd, known = random.Random(seed), set()
    for number in range(count):
        customer = f"c{rnd.randrange(customers):07d}"
        kind = rnd.choice(KINDS) if customer in known else "customer.updated"
        known.add(customer)
        if kind == "trial.started" and journeys > 1 and (at := rnd.randrange(journeys)):
            kind = f"trial{at}.started"
        yield (
            customer.encode(),
            Event(
                event_id=f"{rnd.getrandbits(128):032x}",
                type=kind,
                occurred_at=begin + span_ms * number // count,
                identities={"account_id": customer},
                source="bench",
                properties=_properties(kind, customer, rnd),
            ),
        )


def _properties(kind: str, customer: str, rnd: random.Random) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    match kind:
        case "customer.updated":
            properties = {
                "country": rnd.choice(["DE", "FR", "US"]),
                "email": f"{customer}@example.com",
                "timezone": "Europe/Berlin",
            }
        case "feature.used":
            properties = {"feature": f"f{rnd.randrange(20)}"}
        case "pricing.viewed":
            properties = {"plan": "pro"}
        case "subscription.started":
            properties = {"plan": "pro", "amount": 49.0}
        case "consent.granted":
            properties = {"category": "education"}
        case "message.opened":
            properties = {"action_id": f"{rnd.getrandbits(128):032x}"}
    return properties
