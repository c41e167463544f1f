"""The timeline of a test as a newcomer reads it: what came in, what was decided, and when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from orchestrator.explain import INSTANTS

if TYPE_CHECKING:
    from orchestrator.records import Decision, Value

DAY_FORM = "%a %Y-%m-%d %H:%M:%S"
MARGIN = " " * len("Mon 2026-03-02 22:00:00")


class Happening(NamedTuple):
    """One thing that a reader sees: an input or a decision."""

    at: int
    """Log time, epoch ms."""
    line: int
    """Line of the test file that led to it."""
    customer: str
    text: str
    decided: bool


def wall(at: int, zone: str) -> str:
    """Return an instant as wall time of a zone."""
    return f"{datetime.fromtimestamp(at / 1000, ZoneInfo(zone)):{DAY_FORM}}"


def tell(decision: Decision, zone: str) -> str:
    """Return a decision in one line."""
    subject = decision.message or decision.journey or ""
    parts = [decision.outcome, subject]
    if decision.channel:
        parts.append(f"by {decision.channel}")
    if decision.step and decision.message:
        parts.append(f"(step {decision.step} of {decision.journey})")
    elif decision.step:
        parts.append(f"at step {decision.step}")
    if decision.until:
        parts.append(f"until {wall(decision.until, zone)}")
    text = " ".join(parts)
    if decision.reason:
        text += f": {decision.reason}"
    if decision.rule:
        text += f" (rule {decision.rule})"
    if decision.rule_values:
        values = decision.rule_values.items()
        text += " " + ", ".join(f"{key}={_value(key, value, zone)}" for key, value in values)
    return text


def _value(name: str, value: Value, zone: str) -> Value:
    """Return an instant as it is written on the wall."""
    return wall(value, zone) if name in INSTANTS and isinstance(value, int) else value


def lines(happenings: list[Happening], zone: str, customers: int) -> list[str]:
    """Return a timeline, each instant written once."""
    told: list[str] = []
    shown = -1
    for one in happenings:
        margin = MARGIN if one.at == shown else wall(one.at, zone)
        shown = one.at
        who = f"{one.customer}  " if customers > 1 else ""
        told.append(f"{margin}  {'  ' if one.decided else '> '}{who}{one.text}")
    return told
