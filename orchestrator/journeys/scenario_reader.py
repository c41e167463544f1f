"""``tests/*.yaml`` read into scenarios, with a place for every finding. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from orchestrator.expressions import Value
from orchestrator.expressions.durations import Duration, parse_duration
from orchestrator.expressions.instants import parse_instant
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.nodes import Mapping, Node, Scalar, Sequence, plain
from orchestrator.journeys.scenarios import (
    MESSAGE_OUTCOMES,
    MOVEMENTS,
    NARROWED_BY,
    Expected,
    Given,
    Happens,
    Lay,
    Line,
    Reports,
    Scenario,
)
from orchestrator.records import REASONS, RECEIPT_TYPES
from orchestrator.records import Value as Property

T = TypeVar("T")
Pairs = dict[str, tuple[Scalar, Node]]

TEST_KEYS = "name journeys policy sink choose customer customers script".split()
CUSTOMER_KEYS = "id identities profile consent holdout".split()
EVENT_KEYS = "properties id occurred_at identities backfill".split()
LINE_KEYS = [
    "at",
    "after",
    "customer",
    "event",
    *EVENT_KEYS,
    "receipt",
    "apply",
    "expect",
    "includes",
]
RECEIPT_KEYS = "of status journey key properties".split()
STATUSES = frozenset(type_.removeprefix("message.") for type_ in RECEIPT_TYPES)
OUTCOMES = MESSAGE_OUTCOMES | MOVEMENTS
_INSTANTS = frozenset({"at", "until"})


def read_scenarios(
    node: Node, primary: str = "customer_id"
) -> tuple[tuple[Scenario, ...], list[Diagnostic]]:
    """Return the tests of one file and all that is wrong with them.

    Args:
        node: The document.
        primary: The primary identity kind, by which a line's ``customer`` is named.
    """
    reader = _Reader(primary)
    tests = [reader.test(item) for item in reader.items(node, "a list of tests")]
    return tuple(test for test in tests if test is not None), reader.found


class _Reader:
    def __init__(self, primary: str) -> None:
        self._primary = primary
        self.found: list[Diagnostic] = []

    # -- tests ----------------------------------------------------------------------------------

    def test(self, node: Node) -> Scenario | None:
        pairs = self.pairs(node, TEST_KEYS, "a test")
        name = self.needed(pairs, node, "name", self.text)
        customers = self._customers(pairs)
        alone = customers[0].id if len(customers) == 1 else ""
        known = {customer.id for customer in customers}
        lines: list[Line] = []
        for item in self.items(self.needed(pairs, node, "script", _node), "a list of lines"):
            line = self._line(item, alone, known)
            if not lines and line.at is None and line.after is not None:
                self.say(
                    line.mark, "missing-key", "the first line has no 'at'", "say when it begins"
                )
            lines.append(line)
        if lines and all(line.expect is None and line.includes is None for line in lines):
            self.say(
                node.mark,
                "missing-key",
                "a test that expects nothing proves nothing",
                "write expect or includes on a line ([] = no message decision)",
            )
        if not lines or lines[0].at is None:
            return None
        sink = self.optional(pairs, "sink", self.one_of("accepts", "silent"))
        return Scenario(
            mark=node.mark,
            name=name or "",
            journeys=self.optional(pairs, "journeys", self.texts),
            policy=self._policy(pairs),
            sink="silent" if sink == "silent" else "accepts",
            choose=self.optional(pairs, "choose", self.text_map) or {},
            customers=customers,
            script=tuple(lines),
        )

    def _policy(self, pairs: Pairs) -> dict[str, object]:
        node = self.optional(pairs, "policy", _node)
        if node is None:
            return {}
        if isinstance(node, Mapping):
            return {key.text: plain(value) for key, value in node.items}
        self.say(node.mark, "wrong-type", "policy is a mapping of its top-level keys")
        return {}

    def _customers(self, pairs: Pairs) -> tuple[Given, ...]:
        if "customer" in pairs and "customers" in pairs:
            mark = pairs["customers"][0].mark
            self.say(mark, "unknown-key", "customer and customers exclude each other", "keep one")
        nodes: list[Node] = []
        if "customer" in pairs:
            nodes = [pairs["customer"][1]]
        elif "customers" in pairs:
            nodes = self.items(pairs["customers"][1], "a list of customers")
        return tuple(self._customer(node) for node in nodes)

    def _customer(self, node: Node) -> Given:
        pairs = self.pairs(node, CUSTOMER_KEYS, "a customer")
        consent: dict[str, tuple[str, ...]] = {}
        if "consent" in pairs:
            for key, (_, value) in self.pairs(pairs["consent"][1], None, "consent").items():
                consent[key] = self.texts(value)
        return Given(
            id=self.needed(pairs, node, "id", self.text) or "",
            identities=self.optional(pairs, "identities", self.text_map) or {},
            profile=self.optional(pairs, "profile", self.traits) or {},
            consent=consent,
            holdout=self.optional(pairs, "holdout", self.flag) or False,
        )

    # -- lines ----------------------------------------------------------------------------------

    def _line(self, node: Node, alone: str, known: set[str]) -> Line:
        pairs = self.pairs(node, LINE_KEYS, "a line")
        self._exactly_one(pairs, node, ("at", "after"))
        self._at_most_one(pairs, ("event", "receipt", "apply"))
        self._at_most_one(pairs, ("expect", "includes"))
        customer = self.optional(pairs, "customer", self.text)
        if customer is not None and customer not in known:
            place = pairs["customer"][1].mark
            self.say(
                place,
                "wrong-type",
                f"{customer!r} is no customer of this test",
                _near(customer, known),
            )
        return Line(
            mark=node.mark,
            at=self.optional(pairs, "at", self.instant),
            after=self.optional(pairs, "after", self.duration),
            customer=customer or alone,
            input=self._input(pairs, customer, alone),
            expect=self.optional(pairs, "expect", self._expected),
            includes=self.optional(pairs, "includes", self._expected),
        )

    def _input(
        self, pairs: Pairs, customer: str | None, alone: str
    ) -> Happens | Reports | Lay | None:
        if "event" not in pairs:
            for key in EVENT_KEYS:
                if key in pairs:
                    self.say(pairs[key][0].mark, "unknown-key", f"{key!r} goes with 'event'")
        if "event" in pairs:
            return self._event(pairs, customer, alone)
        if "receipt" in pairs:
            if not (customer or alone):
                self._nobody(pairs["receipt"][0])
            return self._receipt(pairs["receipt"][1])
        if "apply" in pairs:
            return Lay(folder=self.text(pairs["apply"][1]))
        return None

    def _event(self, pairs: Pairs, customer: str | None, alone: str) -> Happens:
        """Identities written alone are exactly those; ``customer`` adds his primary one."""
        identities = self.optional(pairs, "identities", self.text_map)
        named = customer or ("" if identities else alone)
        if not named and not identities:
            self._nobody(pairs["event"][0])
        return Happens(
            mark=pairs["event"][1].mark,
            type=self.text(pairs["event"][1]),
            identities={**({self._primary: named} if named else {}), **(identities or {})},
            properties=self.optional(pairs, "properties", self.properties) or {},
            id=self.optional(pairs, "id", self.text) or "",
            occurred_at=self.optional(pairs, "occurred_at", self.instant),
            backfill=self.optional(pairs, "backfill", self.flag) or False,
        )

    def _receipt(self, node: Node) -> Reports:
        pairs = self.pairs(node, RECEIPT_KEYS, "a receipt")
        status = self.needed(pairs, node, "status", self.one_of(*STATUSES))
        return Reports(
            mark=pairs["of"][1].mark if "of" in pairs else node.mark,
            of=self.needed(pairs, node, "of", self.text) or "",
            status=status or "",
            journey=self.optional(pairs, "journey", self.text),
            key=self.optional(pairs, "key", self.text),
            properties=self.optional(pairs, "properties", self.properties) or {},
        )

    def _expected(self, node: Node) -> tuple[Expected, ...]:
        return tuple(self._one(item) for item in self.items(node, "a list of decisions"))

    def _one(self, node: Node) -> Expected:
        pairs = self.pairs(node, [*sorted(OUTCOMES), *NARROWED_BY], "a decision")
        self._exactly_one(pairs, node, tuple(sorted(OUTCOMES)))
        outcome = next((key for key in pairs if key in OUTCOMES), "")
        fields: dict[str, Value] = {}
        for key, (_, value) in pairs.items():
            if key in _INSTANTS:
                fields[key] = self.instant(value)
            elif key == "reason":
                fields[key] = self.one_of(*REASONS)(value)
            elif key != outcome:
                fields[key] = self.text(value)
        return Expected(
            mark=node.mark,
            outcome=outcome,
            subject=self.text(pairs[outcome][1]) if outcome else "",
            fields=fields,
        )

    # -- values ---------------------------------------------------------------------------------

    def text(self, node: Node) -> str:
        """A word; a number is taken as it is written, because ids often look like numbers."""
        if isinstance(node, Scalar) and node.value is not None:
            return node.text
        self.say(node.mark, "wrong-type", "a text is needed here")
        return ""

    def texts(self, node: Node) -> tuple[str, ...]:
        return tuple(self.text(item) for item in self.items(node, "a list"))

    def text_map(self, node: Node) -> dict[str, str]:
        return {
            key: self.text(value) for key, (_, value) in self.pairs(node, None, "a mapping").items()
        }

    def flag(self, node: Node) -> bool:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.say(node.mark, "wrong-type", "true or false is needed here")
        return False

    def properties(self, node: Node) -> dict[str, Property]:
        found: dict[str, Property] = {}
        for key, (_, value) in self.pairs(node, None, "properties").items():
            if isinstance(value, Scalar):
                found[key] = value.value
            else:
                self.say(
                    value.mark, "wrong-type", "a property is a single value", "flatten it: a.b"
                )
        return found

    def traits(self, node: Node) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, (_, value) in self.pairs(node, None, "a profile").items():
            if isinstance(value, Sequence):
                parts = [item.value for item in value.items if isinstance(item, Scalar)]
                found[key] = [part for part in parts if part is not None]
            elif isinstance(value, Scalar):
                found[key] = value.value
            else:
                self.say(value.mark, "wrong-type", "a trait is a value or a list of values")
        return found

    def instant(self, node: Node) -> int:
        text = self.text(node)
        found = parse_instant(text)
        if found is None:
            self.say(
                node.mark,
                "bad-time",
                f"{text!r} is no instant with offset",
                "write 2026-03-02T10:00:00+01:00",
            )
        return found or 0

    def duration(self, node: Node) -> Duration:
        try:
            return parse_duration(self.text(node))
        except ValueError as error:
            self.say(node.mark, "bad-duration", str(error))
            return Duration()

    def one_of(self, *words: str) -> Callable[[Node], str]:
        def read(node: Node) -> str:
            text = self.text(node)
            if text not in words:
                near = _near(text, words) or f"one of {', '.join(sorted(words))}"
                self.say(node.mark, "wrong-type", f"{text!r} is not known here", near)
            return text

        return read

    # -- shapes ---------------------------------------------------------------------------------

    def items(self, node: Node | None, what: str) -> list[Node]:
        if isinstance(node, Sequence):
            return list(node.items)
        if node is not None:
            self.say(node.mark, "wrong-type", f"{what} is needed here")
        return []

    def pairs(self, node: Node, keys: list[str] | None, what: str) -> Pairs:
        if not isinstance(node, Mapping):
            self.say(node.mark, "wrong-type", f"{what} is a mapping")
            return {}
        found: Pairs = {}
        for key, value in node.items:
            if keys is not None and key.text not in keys:
                self.say(
                    key.mark,
                    "unknown-key",
                    f"{key.text!r} is no key of {what}",
                    _near(key.text, keys),
                )
            else:
                found[key.text] = (key, value)
        return found

    def optional(self, pairs: Pairs, key: str, read: Callable[[Node], T]) -> T | None:
        return read(pairs[key][1]) if key in pairs else None

    def needed(self, pairs: Pairs, node: Node, key: str, read: Callable[[Node], T]) -> T | None:
        if key not in pairs and isinstance(node, Mapping):
            self.say(node.mark, "missing-key", f"{key!r} is missing")
        return self.optional(pairs, key, read)

    def _exactly_one(self, pairs: Pairs, node: Node, keys: tuple[str, ...]) -> None:
        # Where a key is strange, it is the one that was meant.
        known = isinstance(node, Mapping) and len(pairs) == len(node.items)
        if known and not any(key in pairs for key in keys):
            self.say(node.mark, "missing-key", f"one of {', '.join(keys)} is missing")
        self._at_most_one(pairs, keys)

    def _at_most_one(self, pairs: Pairs, keys: tuple[str, ...]) -> None:
        written = [key for key in pairs if key in keys]
        for key in written[1:]:
            text = f"{key!r} and {written[0]!r} exclude each other"
            self.say(pairs[key][0].mark, "unknown-key", text, "split the line or keep one")

    def _nobody(self, key: Scalar) -> None:
        self.say(key.mark, "missing-key", "whose is it?", "write customer: ID, or identities")

    def say(self, mark: Mark, name: str, text: str, remedy: str = "") -> None:
        self.found.append(Diagnostic(mark, name, text, remedy))


def _node(node: Node) -> Node:
    return node


def _near(word: str, words: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
