# ruff: noqa: ARG002 - toys fulfil protocols whose arguments they do not need
"""Toy stages, a codec without a registry, and the naive truth to compare with.

The stages are pure, deterministic and order-sensitive, so that one lost, repeated or reordered input
shows up in every later output.
"""

from __future__ import annotations

from collections import Counter

import msgspec
from msgspec import Struct

from orchestrator.errors import DecodeError, InputError, SchemaNotLoaded, UnavailableError
from orchestrator.records import CatalogSwitch, Decision, Event, Record, Skip, Tick
from orchestrator.stages.catalog import EMPTY, Catalog
from orchestrator.stages.protocol import Emit, Input

MASK = (1 << 61) - 1


class Toy(Struct, array_like=True):
    due: int = 0
    catalog: int = 0
    n: int = 0
    step: int = 0
    check: int = 0
    pad: str = ""
    last: int = 0
    """The number of the last event."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Toy).decode


class ToyStage:
    """Counts, and folds every input, timer and catalog into a checksum, in order."""

    name = "decide"
    source = "timeline"
    table = "customers"

    def __init__(self, *, sweeps: bool = True) -> None:
        self.sweeps = sweeps

    def key(self, item: Input) -> str:
        if item.record.type == "toy.refused":
            raise InputError("refused", cause="refused")
        return item.key

    def new(self, key: str) -> Toy:
        return Toy()

    def encode(self, state: Toy) -> bytes:
        return b"\x01" + _encode(state)

    def decode(self, data: bytes) -> Toy:
        if data[0] > 1:
            raise UnavailableError("newer")
        return _decode(memoryview(data)[1:])

    def apply(self, key: str, state: Toy, item: Input, now: int, catalog: Catalog) -> list[Emit]:
        event = item.record
        number = int(event.properties.get("number") or 0)
        state.n += 1
        state.last = number
        state.check = (state.check * 31 + number + 1 + len(catalog.hash)) & MASK
        state.step = (state.step + 1) % 7
        match event.type:
            case "toy.poisoned" | "toy.deadly":
                state.due = 1  # damage, to be undone
                raise ValueError("poisoned")
            case "toy.fat":
                state.pad = "x" * 300_000
            case "toy.loud":
                return [self._said(key, state, now, catalog, "x" * 1_100_000)]
            case "toy.armed":
                state.due = max(event.occurred_at, now)
            case "toy.wrecked":  # its timer will raise
                state.due, state.step = now + 10, 99
            case "toy.doomed":  # its timer will raise here, and kill a worker that is made to
                state.due, state.step = now + 10, 98
            case _ if state.step == 3:
                state.due = now + 20 + state.check % 600
            case _ if state.step == 6:
                state.due = 0
        return [self._said(key, state, now, catalog)] if state.n % 3 == 0 else []

    def fire(self, key: str, state: Toy, now: int, catalog: Catalog) -> list[Emit]:
        state.check = (state.check * 37 + now + len(catalog.hash)) & MASK
        state.n += 1
        if state.step in {98, 99}:
            raise RuntimeError("wrecked")
        state.step = 0
        state.due = now + 1 + state.check % 700 if state.check % 3 == 0 else 0
        return [self._said(key, state, now, catalog)]

    def switch(self, key: str, state: Toy, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        state.check = (state.check * 41 + at + len(old.hash) * 7 + len(new.hash)) & MASK
        if state.check % 4 == 0 and state.step < 98:  # what was passed over is not armed again
            state.due = at + state.check % 50
        return [self._said(key, state, at, new)]

    @staticmethod
    def _said(key: str, state: Toy, now: int, catalog: Catalog, pad: str = "") -> Emit:
        decision = Decision(
            decision_id=f"{key}:{state.n}:{now}",
            customer_id=key,
            outcome="nothing",
            rule_values={"check": state.check, "pad": pad},
            caused_by="toy",
            decided_at=now,
            catalog=catalog.hash,
        )
        return Emit(topic="decisions", key=key, record=decision)


class Forwarder:
    """Stands where identify stands: passes events on to the timeline, untouched."""

    name = "identify"
    source = "events"
    table = "identities"
    sweeps = False

    def key(self, item: Input) -> str:
        return item.key

    def new(self, key: str) -> Toy:
        return Toy()

    encode = ToyStage.encode
    decode = ToyStage.decode

    def apply(self, key: str, state: Toy, item: Input, now: int, catalog: Catalog) -> list[Emit]:
        state.n += 1
        customer = item.record.identities["customer_id"]
        return [Emit(topic="timeline", key=customer, raw=item.raw)]

    def fire(self, key: str, state: Toy, now: int, catalog: Catalog) -> list[Emit]:
        raise AssertionError("has no timers")

    def switch(self, key: str, state: Toy, old: Catalog, new: Catalog, at: int) -> list[Emit]:
        raise AssertionError("does not sweep")


_KINDS: dict[str, type] = {
    each.__name__: each for each in (Event, Tick, CatalogSwitch, Skip, Decision)
}


class PlainCodec:
    """JSON with the record's name; ``missing`` schemas must be loaded first."""

    def encode(self, record: Record, topic: str) -> bytes:
        return type(record).__name__.encode() + b"\n" + msgspec.json.encode(record)

    def decode(self, value: bytes) -> Record:
        name, _, body = value.partition(b"\n")
        try:
            return msgspec.json.decode(body, type=_KINDS[name.decode()])
        except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DecodeError(repr(error)) from error

    def load(self, schema_id: int) -> None:
        raise AssertionError("nothing to load")


class PlainEnvelope:
    def write(self, emit: Emit, original) -> list[tuple[str, bytes]]:
        return list(original) if emit.record is None else [("about", emit.key.encode())]

    def read(self, headers) -> tuple[bool, str | None]:
        return dict(headers).get("backfill") == b"true", None


def names(logical: str, channel: str = "") -> str:
    return f"toy.{logical}.{channel}" if channel else f"toy.{logical}"


def resolve(switch: CatalogSwitch) -> Catalog:
    return Catalog(hash=switch.catalog)


def event(kind: str, number: int = 0, at: int = 0, customer: str = "c") -> Event:
    return Event(
        event_id=f"e{number}",
        type=kind,
        occurred_at=at,
        identities={"customer_id": customer},
        source="toy",
        properties={"number": number},
    )


def switch(name: str) -> CatalogSwitch:
    return CatalogSwitch(catalog=name, definitions={}, status={})


class Truth:
    """One partition's log, applied the naive way: every state at once, the next timer by search."""

    def __init__(self, stage: ToyStage, codec) -> None:
        self.states: dict[str, Toy] = {}
        self.decisions: Counter[tuple[str, str, int, int]] = Counter()
        self.dead: Counter[str] = Counter()
        self._stage = stage
        self._codec = codec
        self._catalog = EMPTY
        self._ordinal = 0
        self._now = 0

    def run(self, records) -> Truth:
        for record in records:
            self._now = max(self._now, record.timestamp)
            self._fire(self._now)
            if record.key is not None or record.value:
                self._record(record)
        return self

    def _fire(self, until: int) -> None:
        while due := [(s.due, k) for k, s in self.states.items() if 0 < s.due <= until]:
            now, key = min(due)
            self._try(
                key, "timer", lambda s, k=key, t=now: self._stage.fire(k, s, t, self._catalog)
            )

    def _record(self, record) -> None:
        try:
            decoded = self._decoded(record)
            if isinstance(decoded, CatalogSwitch):
                self._switch(decoded)
                return
            if isinstance(decoded, Tick | Skip):
                return
            if record.key is None or not isinstance(decoded, Event):
                raise DecodeError("no input")
            item = Input(key=record.key.decode(), record=decoded, raw=record.value)
            key = self._stage.key(item)
            if not key or key.startswith("\0"):
                raise DecodeError("no key")
        except (DecodeError, InputError, UnicodeDecodeError):
            self.dead["poison"] += 1
            return
        now = self._now
        self._try(key, "record", lambda s: self._stage.apply(key, s, item, now, self._catalog))

    def _decoded(self, record) -> Record:
        if record.value is None:
            raise DecodeError("a key and no value")
        try:
            return self._codec.decode(record.value)
        except SchemaNotLoaded as missing:
            self._codec.load(missing.schema_id)
            return self._codec.decode(record.value)

    def _switch(self, decoded: CatalogSwitch) -> None:
        old, self._catalog = self._catalog, resolve(decoded)
        self._ordinal += 1
        at = self._now
        for key in list(self.states):
            self._try(
                key, "switch", lambda s, k=key: self._stage.switch(k, s, old, self._catalog, at)
            )
            self.states[key].catalog = self._ordinal

    def _try(self, key: str, what: str, act) -> None:
        state = self.states.get(key) or Toy(catalog=self._ordinal)
        tried = self._stage.decode(self._stage.encode(state))
        try:
            emits = act(tried)
            oversize = len(self._stage.encode(tried)) > 262_000
            oversize |= any(len(e.record.rule_values["pad"]) > 1_000_000 for e in emits)
            if oversize:
                raise ValueError("oversize")
        except (ValueError, RuntimeError):
            self.dead["failed"] += 1
            if what == "timer":
                state.due = 0
            return
        self.states[key] = tried
        for emit in emits:
            self.decisions[said(emit.record)] += 1


def said(decision: Decision) -> tuple[str, str, int, int]:
    return (
        decision.decision_id,
        decision.catalog,
        decision.rule_values["check"],
        decision.decided_at,
    )
