"""One mapping, compiled: a record, or the lines of one event, to events. Pure.

- Every form whose ``if`` holds makes an event; a record for which none does makes nothing.
- What is wrong with one of a record's events refuses the whole record: all or nothing.
- A property that only names a field copies it as it is: an object becomes dotted properties, an
  array JSON, and null stays null, which clears a trait. What the record does not have is left out,
  and so is a computed property that comes to null.
- ``id`` is the event_id; where a mapping makes several types of events, the type stands behind it
  (``in_7/invoice.paid``), because one record, or one upstream object, may tell several things.
  Without ``id`` the event_id is made of what the connector repeats: file and offset, or the body.
- A row that was deleted makes events only in forms whose ``if`` asks for ``change.op``: a mapping that
  does not think of deletions must not take the last state of a row for something that happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from orchestrator.errors import InputError
from orchestrator.expressions import Environment, Expression, compile_expression
from orchestrator.expressions.functions import format_double
from orchestrator.expressions.records import (
    ABSENT,
    CHANGE,
    HEADER,
    RECORD,
    Record,
    RecordScope,
    mapping_environment,
)
from orchestrator.expressions.typed import Field
from orchestrator.identities import normalise
from orchestrator.ids import event_id
from orchestrator.records import Event
from orchestrator.sources.flatten import flatten
from orchestrator.sources.mappings.instants import instant_of

MAX_EVENT = 256 * 1024
"""Bytes of one event's names and texts: more than a broker takes from anybody is somebody's file."""


class LookupFile(Struct):
    """``lookup``: a row of ``file`` by its ``key``."""

    file: str
    key: str
    on: str


class _Form(Struct, rename={"condition": "if"}):
    type: str
    identities: dict[str, str]
    condition: str | None = None
    id: str | None = None
    occurred_at: str | None = None
    properties: dict[str, str] = {}


class _Source(Struct):
    source: str
    events: list[_Form]
    topic: list[str] = []
    webhook: str = ""
    file: list[str] = []
    files: list[str] = []
    format: str = ""
    delimiter: str = ","
    zone: str | None = None
    lookup: dict[str, LookupFile] = {}
    group_by: list[str] = []


class Lookup(Protocol):
    """Rows by key."""

    def get(self, key: str) -> Record:
        """Return a row; an empty one if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the connector knows of a record.

    ``at``: when it came, epoch ms, for mappings without ``occurred_at``; None = nobody says.
    ``stable``: what a repetition of the same record repeats.
    """

    at: int | None
    stable: tuple[str, ...]
    header: Mapping[str, str] = field(default_factory=dict)
    roots: Mapping[str, Record] = field(default_factory=dict)
    """What else there is to read: of a topic's record its ``key`` and ``kafka``, of a change more."""
    deleted: bool = False
    """The record is a row that is no more."""


_NO_ARRIVAL = Arrival(None, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    type: str
    condition: Expression | None
    id: Expression | None
    occurred_at: Expression | None
    identities: tuple[tuple[str, Expression], ...]
    properties: tuple[tuple[str, Expression], ...]

    @property
    def expressions(self) -> list[Expression]:
        several = [each for _, each in (*self.identities, *self.properties)]
        single = [self.condition, self.id, self.occurred_at]
        return [*several, *(each for each in single if each is not None)]

    @property
    def asks_for_change(self) -> bool:
        return self.condition is not None and (CHANGE, "op") in self.condition.references.fields


class Mapper:
    """A checked mapping at work.

    Args:
        definition: Its canonical JSON.

    Raises:
        ExpressionError: It was not checked.
    """

    def __init__(self, definition: str) -> None:
        said = msgspec.json.decode(definition, type=_Source)
        self.source = said.source
        self.topics = tuple(said.topic)
        self.webhook = said.webhook
        self.files = tuple(said.files or said.file)
        self.format = said.format or ("avro" if said.topic else "json")
        self.delimiter = said.delimiter
        self.lookups = said.lookup
        self._zone = ZoneInfo(said.zone) if said.zone else None
        texts = self.format == "csv"
        place = mapping_environment(
            said.lookup,
            texts=texts,
            header=bool(said.webhook or said.topic),
            grouped=bool(said.group_by),
            topic=bool(said.topic),
            changes=self.format == "debezium",
        )
        single = mapping_environment(said.lookup, texts=texts)
        self._keys = [compile_expression(text, single) for text in said.group_by]
        plain = mapping_environment(texts=texts)
        self._on = {name: compile_expression(one.on, plain) for name, one in said.lookup.items()}
        self._makers = [_maker(form, place) for form in said.events]
        self._typed = len({maker.type for maker in self._makers}) > 1
        self._found: Mapping[str, Lookup] = {}

    @property
    def grouped(self) -> bool:
        """Whether one event is made of several lines."""
        return bool(self._keys)

    def fields(self, root: str = RECORD) -> frozenset[str]:
        """Return the names that are read of the record, or of a lookup."""
        expressions = [*self._keys, *self._on.values()]
        for maker in self._makers:
            expressions += maker.expressions
        read = frozenset().union(*(each.references.fields for each in expressions))
        return frozenset(name for where, name in read if where == root)

    def use(self, lookups: Mapping[str, Lookup]) -> None:
        """Give it the rows of its lookups."""
        self._found = lookups

    def group(self, record: Record) -> str:
        """Return what lines of one event share.

        Raises:
            InputError: A part of it is null.
        """
        scope = self._scope(record, _NO_ARRIVAL)
        values = [key(scope) for key in self._keys]
        if None in values:
            raise InputError("group_by is null: the line belongs to no event", "no_group")
        return msgspec.json.encode(values).decode()

    def events(self, lines: Sequence[Record], arrival: Arrival) -> list[Event]:
        """Return the events of one record, or of the lines of one group; the first line speaks.

        Raises:
            InputError: It cannot be mapped; the cause is a closed word.
        """
        try:
            return self._events(lines, arrival)
        except OverflowError as error:
            # JSON can write numbers with which nobody can reckon.
            raise InputError("a number is larger than any double", "out_of_range") from error

    def _events(self, lines: Sequence[Record], arrival: Arrival) -> list[Event]:
        first, *others = lines
        scope = self._scope(first, arrival, [self._scope(line, arrival) for line in others])
        made: list[Event] = []
        for maker in self._makers:
            if arrival.deleted and not maker.asks_for_change:
                continue
            if maker.condition is None or maker.condition.holds(scope):
                same = sum(each.type == maker.type for each in made)
                made.append(self._event(maker, scope, arrival, same))
        return made

    def _scope(
        self, record: Record, arrival: Arrival, others: Sequence[RecordScope] = ()
    ) -> RecordScope:
        roots: dict[str, Record] = {RECORD: record, HEADER: arrival.header, **arrival.roots}
        if self._on:
            bare = RecordScope(roots)
            for name, on in self._on.items():
                key = _text(on(bare))
                if key is not None and name in self._found:
                    roots[name] = self._found[name].get(key)
        return RecordScope(roots, others)

    def _event(self, maker: _Maker, scope: RecordScope, arrival: Arrival, same: int) -> Event:
        identities = {
            kind: text
            for kind, each in maker.identities
            if (text := normalise(kind, _text(each(scope)) or ""))
        }
        if not identities:
            kinds = ", ".join(kind for kind, _ in maker.identities)
            raise InputError(f"{maker.type}: no identity has a value ({kinds})", "no_identity")
        event = Event(
            event_id=self._id(maker, scope, arrival, same),
            type=maker.type,
            occurred_at=self._time(maker, scope, arrival),
            identities=identities,
            source=self.source,
            properties=flatten(_properties(maker, scope)),
        )
        if _size(event) > MAX_EVENT:
            raise InputError(f"{maker.type}: more than {MAX_EVENT} bytes", "too_large")
        return event

    def _id(self, maker: _Maker, scope: RecordScope, arrival: Arrival, same: int) -> str:
        tail: tuple[str, ...] = (maker.type,) if self._typed else ()
        if same:
            tail += (str(same + 1),)
        if maker.id is None:
            return event_id(self.source, *arrival.stable, *tail)
        said = _text(maker.id(scope))
        if not said:
            raise InputError(f"{maker.type}: id {maker.id.text!r} is null", "no_id")
        return "/".join((said, *tail))

    def _time(self, maker: _Maker, scope: RecordScope, arrival: Arrival) -> int:
        if maker.occurred_at is not None:
            said = maker.occurred_at(scope)
            if said is None:
                text = maker.occurred_at.text
                raise InputError(f"{maker.type}: occurred_at {text!r} is null", "no_time")
            return instant_of(said, self._zone)
        if arrival.at is None:
            raise InputError(f"{maker.type}: on the log clock occurred_at is needed", "no_time")
        return arrival.at


def _maker(form: _Form, place: Environment) -> _Maker:
    def compiled(text: str | None) -> Expression | None:
        return None if text is None else compile_expression(text, place)

    def several(texts: Mapping[str, str]) -> tuple[tuple[str, Expression], ...]:
        return tuple((name, compile_expression(text, place)) for name, text in texts.items())

    return _Maker(
        type=form.type,
        condition=compiled(form.condition),
        id=compiled(form.id),
        occurred_at=compiled(form.occurred_at),
        identities=several(form.identities),
        properties=several(form.properties),
    )


def _properties(maker: _Maker, scope: RecordScope) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, expression in maker.properties:
        tree = expression.tree
        if isinstance(tree, Field):
            value = scope.raw(tree.root, tree.name)
            if value is not ABSENT:
                found[name] = value
        elif (value := expression(scope)) is not None:
            found[name] = value
    return found


def _text(value: object) -> str | None:
    match value:
        case bool() | None:
            return None
        case str():
            return value.strip()
        case int():
            return str(value)
        case float():
            return format_double(value)
        case _:
            return None


def _size(event: Event) -> int:
    texts = [*event.properties, *event.identities.values(), event.event_id]
    texts += [value for value in event.properties.values() if isinstance(value, str)]
    return sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
