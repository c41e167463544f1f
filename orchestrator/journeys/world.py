"""What is declared in a workspace: the names that expressions and references may use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from orchestrator.expressions import (
    ANYTHING,
    Environment,
    Expression,
    ExpressionError,
    Names,
    Type,
    compile_expression,
)
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.expressions.types import unify
from orchestrator.journeys import nodes
from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.spots import Spot
from orchestrator.records import RECEIPT_TYPES

CONDITION: tuple[Type, ...] = ("boolean",)
NUMBER: tuple[Type, ...] = ("long", "double")
_RECEIPT: Mapping[str, Type] = {"action_id": "string", "reason": "string", "url": "string"}
BUILT_IN: Mapping[str, Names] = {
    **{type_: Names(_RECEIPT, open=True) for type_ in sorted(RECEIPT_TYPES)},
    "customer.updated": Names(open=True),
    "consent.granted": Names({"channel": "string", "category": "string"}),
    "consent.revoked": Names({"channel": "string", "category": "string"}),
    "lifecycle.changed": Names({"from": "string", "to": "string"}),
}
"""Events that every workspace knows; providers add properties of their own to receipts."""
_NULL = compile_expression("null", Environment())
"""Stands where an expression was refused, so that the rest is checked too; it never runs."""


def union(several: Iterable[Names]) -> Names:
    """Return the names of any of ``several``; a name with two types may be anything."""
    types: dict[str, Type] = {}
    is_open = False
    for names in several:
        is_open = is_open or names.open
        for name, type_ in names.types.items():
            known = types.get(name, type_)
            types[name] = known if known == type_ else unify(known, type_) or "any"
    return Names(types, open=is_open)


@dataclass(slots=True, kw_only=True)
class World:
    """Filled part by part, in the order events, profile, policy, messages, journeys.

    ``None`` for a collection means that it is not known (no file, or a broken one): not checked.
    """

    events: Mapping[str, Names] | None = None
    profile: Names = ANYTHING
    timed: frozenset[str] = frozenset()
    derived: dict[str, Expression] = field(default_factory=dict)
    settable: Mapping[str, Type] | None = None
    """Plain traits with their types."""
    channels: Collection[str] | None = None
    categories: Collection[str] | None = None
    messages: Collection[str] | None = None
    needs: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """What the template of a message on a channel cannot do without."""
    found: list[Diagnostic] = field(default_factory=list)
    expressions: list[Expression] = field(default_factory=list)
    lenient: bool = False

    def past(self) -> World:
        """Return the world for earlier versions of journeys: what is gone reads as null."""
        types: dict[str, Type] = dict.fromkeys(self.profile.types, "any")
        return World(
            profile=Names(types, open=True),
            timed=self.timed,
            derived=self.derived,
            lenient=True,
        )

    # ----------------------------------------------------------------------------- findings

    def report(self, mark: Mark, name: str, text: str, remedy: str = "") -> None:
        """Add a finding."""
        self.found.append(Diagnostic(mark, name, text, remedy))

    def _known(self, spot: Spot, known: Collection[str] | None, problem: str, what: str) -> bool:
        if known is None or spot.value in known:
            return True
        self.report(
            spot.mark,
            problem,
            f"{what} {spot.value!r} is not known",
            did_you_mean(spot.value, known),
        )
        return False

    def channel(self, spot: Spot) -> str:
        """Return a channel's name, checked."""
        self._known(spot, self.channels, "unknown-channel", "channel")
        return str(spot.value)

    def category(self, spot: Spot) -> str:
        """Return a category's name, checked."""
        self._known(spot, self.categories, "unknown-category", "category")
        return str(spot.value)

    def message(self, spot: Spot) -> str:
        """Return a message's name, checked."""
        self._known(spot, self.messages, "unknown-message", "message")
        return str(spot.value)

    def event_type(self, spot: Spot) -> str:
        """Return an event type, checked."""
        self._known(spot, self.event_types, "unknown-event", "event")
        return str(spot.value)

    def types(self, spot: Spot | None) -> tuple[str, ...]:
        """Return event types (one or many), checked, each once."""
        if spot is None:
            return ()
        return tuple(dict.fromkeys(self.event_type(item) for item in spot))

    # ---------------------------------------------------------------------------- expressions

    @property
    def event_types(self) -> Collection[str] | None:
        """All known event types, or None."""
        return None if self.events is None else {*self.events, *BUILT_IN}

    def properties(self, types: Iterable[str]) -> Names:
        """Return what events of any of these types may carry."""
        return union(self._properties(type_) for type_ in types)

    def _properties(self, type_: str) -> Names:
        built_in = BUILT_IN.get(type_)
        declared = (self.events or {}).get(type_)
        if self.lenient or (built_in is None and declared is None):
            return ANYTHING
        return union(each for each in (built_in, declared) if each is not None)

    def place(self, **readable: Any) -> Environment:
        """Return the environment of a place; ``readable`` are fields of ``Environment``."""
        return replace(
            Environment(
                timed=self.timed,
                derived=self.derived,
                event_types=self.event_types,
                channels=self.channels,
                categories=self.categories,
                any_step=False,
                lenient=self.lenient,
            ),
            **readable,
        )

    def expression(
        self,
        spot: Spot,
        place: Environment,
        *,
        expect: tuple[Type, ...] = (),
        watched: bool = False,
    ) -> Expression:
        """Return the compiled expression; what is wrong is reported at its token."""
        try:
            compiled = compile_expression(spot.value, place, expect=expect, watched=watched)
        except ExpressionError as error:
            self._refused(spot, error)
            return _NULL
        self.expressions.append(compiled)
        return compiled

    def _refused(self, spot: Spot, error: ExpressionError) -> None:
        node = cast("nodes.Scalar", spot.node)  # expressions are scalars
        if node.comment and error.problem == "bad-expression":
            whole = (node.text + node.comment).replace("'", "''")
            self.report(
                node.mark,
                "quote-expression",
                "YAML takes what follows a space and # for a comment",
                f"write '{whole}'",
            )
            return
        skipped = len(node.text) - len(node.text.lstrip())
        self.report(node.at(skipped + error.offset), error.problem, error.text, error.remedy)

    def condition(
        self, spot: Spot | None, place: Environment, *, watched: bool = False
    ) -> Expression | None:
        """Return the compiled condition, if there is one."""
        if spot is None:
            return None
        return self.expression(spot, place, expect=CONDITION, watched=watched)

    def set_trait(self, key: Spot, spot: Spot, place: Environment) -> Expression:
        """Return what a set step gives a plain trait."""
        if self.settable is None or key.value in self.settable:
            return self.expression(spot, place, expect=self._fits(key))
        if key.value in self.profile.types:
            self.report(
                key.mark,
                "type-error",
                f"trait {key.value!r} is computed; only plain traits can be set",
            )
        else:
            remedy = did_you_mean(key.value, self.settable)
            self.report(key.mark, "unknown-trait", f"trait {key.value!r} is not declared", remedy)
        return self.expression(spot, place)

    def _fits(self, key: Spot) -> tuple[Type, ...]:
        type_ = (self.settable or {}).get(key.value)
        if type_ is None:
            return ()
        return ("long", "double") if type_ == "double" else (type_,)

    def number(self, spot: Spot | None, place: Environment) -> Expression | None:
        """Return the compiled numeric expression, if there is one."""
        return None if spot is None else self.expression(spot, place, expect=NUMBER)


def written_keys(spot: Spot | None) -> list[str]:
    """Return all keys as the author wrote them, those with a wrong value included."""
    if spot is None or not isinstance(spot.node, nodes.Mapping):
        return []
    return [key.text for key, _ in spot.node.items]
