"""A compiled expression and what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.expressions.checker import check
from orchestrator.expressions.closures import closure
from orchestrator.expressions.environment import Environment
from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.parser import parse
from orchestrator.expressions.scope import Flag, Scope, Value
from orchestrator.expressions.typed import (
    Consent,
    Count,
    Field,
    Last,
    Read,
    StepFlag,
    Typed,
    children,
)
from orchestrator.expressions.types import Type
from orchestrator.expressions.watch import moves, watch


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What an expression reads, derived traits included with all that they read."""

    traits: frozenset[str] = frozenset()
    event: frozenset[str] = frozenset()
    entry: frozenset[str] = frozenset()
    latest: frozenset[str] = frozenset()
    flags: frozenset[tuple[str, Flag]] = frozenset()
    """(step, flag)."""
    counts: frozenset[tuple[str, int]] = frozenset()
    """(event type, window in ms)."""
    lasts: frozenset[str] = frozenset()
    """Event types."""
    consents: frozenset[tuple[str, str]] = frozenset()
    """(channel, category)."""
    fields: frozenset[tuple[str, str]] = frozenset()
    """(root, name), in a source mapping."""
    time: bool = False
    """Whether time alone may change the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """Call it with a ``Scope``; it is total: nothing raises, what is missing is null.

    Two expressions are equal if text, type and references are: closures do not compare.
    """

    text: str
    type: Type
    references: References
    evaluate: Callable[[Scope], Value] = field(compare=False, repr=False)
    """The closure itself, for the hot path (saves one call)."""
    tree: Typed = field(compare=False, repr=False)
    """The checked tree: what other expressions, lint and the console look into."""
    watch: Callable[[Scope], int | None] | None = field(default=None, compare=False, repr=False)
    """None: time alone never changes the truth, or it is no watched condition."""

    def __call__(self, scope: Scope) -> Value:
        """Return the value; for a condition null counts as false, so use ``holds``."""
        return self.evaluate(scope)

    def holds(self, scope: Scope) -> bool:
        """Return whether the condition is true; null is false."""
        return self.evaluate(scope) is True

    def next_change(self, scope: Scope) -> int | None:
        """Return the earliest instant later than ``scope.now`` when time may change the truth."""
        return None if self.watch is None else self.watch(scope)

    @property
    def constant(self) -> bool:
        """Whether the value is the same in every scope."""
        return self.references == NOTHING


NOTHING = References()


def compile_expression(
    text: str,
    environment: Environment,
    *,
    expect: tuple[Type, ...] = (),
    watched: bool = False,
) -> Expression:
    """Return ``text`` compiled for a place.

    Args:
        text: CEL syntax, the subset of 2-semantics 2.4.
        environment: What may be named there.
        expect: The types that are of use there; empty = all. ``any`` and ``null`` always pass.
        watched: A condition that must react at the instant at which time makes it true or false.

    Raises:
        ExpressionError: With place and remedy.
    """
    tree = check(parse(text), environment)
    if expect and tree.type not in (*expect, "any", "null"):
        raise ExpressionError(
            "type-error",
            0,
            f"this is a {tree.type}, and here stands a {' or a '.join(expect)}",
            "compare it with something, or test has(...)" if expect == ("boolean",) else "",
        )
    watcher = None
    if watched:
        try:
            watcher = watch(tree)
        except ExpressionError:
            if not environment.lenient:
                raise
    return Expression(
        text=text,
        type=tree.type,
        references=references(tree),
        evaluate=closure(tree),
        tree=tree,
        watch=watcher,
    )


def references(tree: Typed) -> References:
    """Return what ``tree`` reads, through derived traits too."""
    roots: dict[str, set[str]] = {"profile": set(), "event": set(), "entry": set(), "latest": set()}
    flags: set[tuple[str, Flag]] = set()
    counts: set[tuple[str, int]] = set()
    lasts: set[str] = set()
    consents: set[tuple[str, str]] = set()
    fields: set[tuple[str, str]] = set()
    stack = [tree]
    while stack:
        node = stack.pop()
        stack.extend(children(node))
        match node:
            case Read(root=root, name=name, derived=derived):
                roots[root].add(name)
                if derived is not None:
                    stack.append(derived)
            case Field(root=root, name=name):
                fields.add((root, name))
            case StepFlag(step=step, flag=flag):
                flags.add((step, flag))
            case Count(event=event, window_ms=window):
                counts.add((event, window))
            case Last(event=event):
                lasts.add(event)
            case Consent(channel=channel, category=category):
                consents.add((channel, category))
            case _:
                pass
    return References(
        traits=frozenset(roots["profile"]),
        event=frozenset(roots["event"]),
        entry=frozenset(roots["entry"]),
        latest=frozenset(roots["latest"]),
        flags=frozenset(flags),
        counts=frozenset(counts),
        lasts=frozenset(lasts),
        consents=frozenset(consents),
        fields=frozenset(fields),
        time=moves(tree),
    )
