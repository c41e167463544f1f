"""What a check is, and which are made in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from msgspec import Struct

from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.settings import Settings


class Verdict(StrEnum):
    """``NOTE``: worth knowing, nothing to do at once. Only findings make the exit code."""

    OK = "ok"
    NOTE = "note"
    FINDING = "FINDING"
    SKIPPED = "skipped"


class Check(Struct, frozen=True, kw_only=True):
    """One look at one thing."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


def ok(name: str, detail: str) -> Check:
    """Return a check that found nothing."""
    return Check(name=name, verdict=Verdict.OK, detail=detail)


def note(name: str, detail: str, remedy: str = "") -> Check:
    """Return a check with a remark."""
    return Check(name=name, verdict=Verdict.NOTE, detail=detail, remedy=remedy)


def finding(name: str, detail: str, remedy: str) -> Check:
    """Return a check that found something wrong."""
    return Check(name=name, verdict=Verdict.FINDING, detail=detail, remedy=remedy)


def skipped(name: str, detail: str) -> Check:
    """Return a check that could not be made."""
    return Check(name=name, verdict=Verdict.SKIPPED, detail=detail)


Examination = Callable[["Settings"], Iterator[Check]]


def examine(settings: Settings) -> list[Check]:
    """Make every check that can be made; what stands on a missing thing is skipped."""
    from orchestrator.cli.doctor import _disk, _groups, _kafka, _keys, _registry, _senders

    checks = list(_disk.disk(settings))
    registry = list(_registry.registry(settings))
    broker = list(_kafka.broker(settings))
    checks += [*registry, *_senders.senders(settings), *broker]
    if any(check.verdict is Verdict.FINDING for check in broker):
        return [*checks, skipped("topics, clock, groups, keys", "no broker answers")]
    topics = list(_kafka.topics(settings))
    checks += topics
    if any(check.verdict is Verdict.FINDING for check in topics):
        checks.append(skipped("clock, keys", "the topics are not as planned"))
    else:
        for name, look in (("clock", _kafka.clock), ("keys", _keys.keys)):
            checks += _guarded(name, look, settings)
        if all(check.verdict is not Verdict.FINDING for check in registry):
            checks += _guarded("catalog", _registry.catalog, settings)
    return checks + _guarded("groups", _groups.groups, settings)


def _guarded(name: str, look: Examination, settings: Settings) -> list[Check]:
    """What breaks one check must not hide the others."""
    try:
        return list(look(settings))
    except (OrchestratorError, KafkaException) as error:
        return [finding(name, f"could not be checked: {error}", "see the text")]
