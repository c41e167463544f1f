"""Expressions of source mappings: they read a record and its lookups, and nothing of any customer.

``record.a.b`` is a field, however deep it is nested or however its name is dotted. An object reads
as the list of its keys, as CEL's maps do: ``"a" in record.x``, ``size(record.x)``, ``has(record.x)``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

from orchestrator.expressions.environment import Environment, Names
from orchestrator.expressions.scope import Comparison, Flag, Value
from orchestrator.expressions.types import Type

RECORD: Final = "record"
HEADER: Final = "header"
KEY: Final = "key"
KAFKA: Final = "kafka"
BEFORE: Final = "before"
CHANGE: Final = "change"
RESERVED: Final = frozenset({RECORD, HEADER, "profile", "event", "entry", "latest"})
"""No lookup may be called so."""
_REMEDY = "a mapping knows the record alone; conditions on customers stand in journeys"


class Absent:
    """Marks a field that a record does not have, which is not the same as null."""


ABSENT: Final = Absent()
Record = Mapping[str, Any]


def mapping_environment(
    lookups: Collection[str] = (),
    *,
    texts: bool = False,
    header: bool = False,
    grouped: bool = False,
    topic: bool = False,
    changes: bool = False,
) -> Environment:
    """Return the place of a mapping's expressions.

    Args:
        lookups: Names of lookups whose columns may be read here.
        texts: Every field is a text, as in CSV.
        header: ``header["x-name"]`` may be read: those of a webhook's request or of a Kafka record.
        grouped: ``sum()`` may be asked.
        topic: ``key.NAME`` (a plain key is ``key.value``) and what Kafka knows of the record.
        changes: The records are changes of rows: ``before.COLUMN`` is the row as it was, ``change``
            which change it is (``change.op``) and where it came from.
    """
    text: Type = "string"
    roots = dict.fromkeys(lookups, Names(open=True, other="string"))
    roots[RECORD] = Names(open=True, other=text if texts else "any")
    if header:
        roots[HEADER] = Names(open=True, other="string")
    if topic:
        roots[KEY] = Names(open=True)
        roots[KAFKA] = Names(types={"topic": "string", "time": "timestamp", "type": "string"})
    if changes:
        roots[BEFORE] = roots[CHANGE] = Names(open=True)
    return Environment(
        records=roots,
        grouped=grouped,
        history=False,
        missing=dict.fromkeys(("profile", "event", "entry", "latest", "history"), _REMEDY),
    )


def find(record: Record, name: str) -> Any:
    """Return the field with a dotted name, nested or not; ``ABSENT`` if there is none."""
    if name in record:
        return record[name]
    at = name.find(".")
    while at > 0:
        inner = record.get(name[:at])
        if isinstance(inner, Mapping):
            found = find(inner, name[at + 1 :])
            if found is not ABSENT:
                return found
        at = name.find(".", at + 1)
    return ABSENT


class RecordScope:
    """One record, the rows that its lookups found, and the other lines of its group.

    It is a ``Scope`` in which there is no customer: the checker lets no expression ask for one.
    """

    now = 0

    def __init__(self, roots: Mapping[str, Record], others: Sequence[RecordScope] = ()) -> None:
        self._roots = roots
        self._others = others

    def field(self, root: str, name: str) -> Value:
        """Return a field as a value; an object is the list of its keys."""
        found = self.raw(root, name)
        if isinstance(found, Mapping):
            return list(found)
        return None if found is ABSENT else cast("Value", found)

    def raw(self, root: str, name: str) -> Any:
        """Return a field as it is, or ``ABSENT``."""
        return find(self._roots.get(root, {}), name)

    def lines(self) -> tuple[RecordScope, ...]:
        """Return all lines of the group, this one first."""
        return (self, *self._others)

    # What a customer would answer; no mapping can ask.

    def trait(self, name: str) -> Value:
        """Nothing."""

    def event(self, name: str) -> Value:
        """Nothing."""

    def entry(self, name: str) -> Value:
        """Nothing."""

    def latest(self, name: str) -> Value:
        """Nothing."""

    def flag(self, step: str, flag: Flag) -> bool:
        """Never."""
        del step, flag
        return False

    def consent(self, channel: str, category: str) -> bool:
        """Never."""
        del channel, category
        return False

    def count(self, type_: str, window_ms: int) -> int:
        """None at all."""
        del type_, window_ms
        return 0

    def last(self, type_: str) -> int | None:
        """Never."""

    def days_since(self, instant: int) -> int:
        """None at all."""
        del instant
        return 0

    def when_trait_crosses(self, name: str, comparison: Comparison, bound: float) -> int | None:
        """Never."""

    def when_count_crosses(
        self, type_: str, window_ms: int, comparison: Comparison, bound: float
    ) -> int | None:
        """Never."""

    def when_days_since(self, instant: int, comparison: Comparison, bound: float) -> int | None:
        """Never."""
