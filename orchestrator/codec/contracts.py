"""Our own subjects beside the registry: what is registered, and what would be refused.

The rule of every subject of ours is FULL_TRANSITIVE: any version reads what any other wrote, so
producers and consumers may be upgraded in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from orchestrator.codec.avro import full_name, schema_text
from orchestrator.codec.codec import TOPIC_RECORDS, Subject
from orchestrator.codec.registry import RegistryClient
from orchestrator.records import Record

RULE = "FULL_TRANSITIVE"
Finding = Literal["registered", "missing", "incompatible", "rule"]


class Contract(Struct, kw_only=True):
    """One subject and the record that is written under it."""

    subject: str
    record: str
    topics: list[str]
    schema: str


class Checked(Struct, kw_only=True):
    """What the registry says of one subject."""

    subject: str
    record: str
    finding: Finding
    """``rule``: registered, but the registry would take a version that breaks readers."""
    detail: str = ""


def contracts(topics: Mapping[str, str], subject: Subject) -> list[Contract]:
    """Return every subject that the deployment writes under, in the order of its topics.

    Args:
        topics: Topic -> logical name.
        subject: The deployment's strategy.
    """
    found: dict[str, Contract] = {}
    for topic, logical in topics.items():
        for record in _records(logical):
            name = subject(topic, full_name(record))
            one = found.setdefault(
                name,
                Contract(
                    subject=name,
                    record=full_name(record),
                    topics=[],
                    schema=schema_text(record),
                ),
            )
            one.topics.append(topic)
    return list(found.values())


def _records(logical: str) -> tuple[type[Record], ...]:
    return TOPIC_RECORDS.get(logical, ())


def check(registry: RegistryClient, wanted: list[Contract]) -> Iterator[Checked]:
    """Yield what the registry says of each subject; changes nothing.

    Raises:
        RegistryUnavailable: It does not answer.
    """
    for one in wanted:
        finding, detail = _check(registry, one)
        yield Checked(subject=one.subject, record=one.record, finding=finding, detail=detail)


def _check(registry: RegistryClient, one: Contract) -> tuple[Finding, str]:
    problems = registry.incompatibilities(one.subject, one.schema)
    if problems:
        return "incompatible", "; ".join(problems)
    if registry.lookup(one.subject, one.schema) is None:
        return "missing", "run `orchestrator schemas register`"
    level = registry.compatibility(one.subject)
    if level != RULE:
        now = level or "the registry-wide rule"
        return "rule", f"{now} instead of {RULE}: run `orchestrator schemas register`"
    return "registered", ""


def register(registry: RegistryClient, wanted: list[Contract]) -> Iterator[tuple[Contract, int]]:
    """Register every schema and set every subject's rule; yield (contract, schema id).

    Raises:
        RegistryUnavailable: It does not answer.
        CouldNotRun: It refuses a schema or the rule.
    """
    for one in wanted:
        # The rule first: it is what the schema must pass.
        registry.set_compatibility(one.subject, RULE)
        yield one, registry.register(one.subject, one.schema)
