"""Syntax to the typed tree: every name is resolved, every operand has a fitting type."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, assert_never, cast

from orchestrator.expressions import calls
from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.suggest import did_you_mean
from orchestrator.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    Given,
    ListLiteral,
    Name,
    Select,
    Syntax,
    Unary,
    start,
)
from orchestrator.expressions.typed import (
    And,
    Arithmetic,
    Compare,
    Const,
    Either,
    Field,
    In,
    IsNull,
    ListOf,
    Negate,
    Not,
    Or,
    Read,
    Root,
    Typed,
)
from orchestrator.expressions.types import NUMERIC, ORDERED, Type, element_of, list_of, unify

if TYPE_CHECKING:
    from orchestrator.expressions.environment import Environment, Names
    from orchestrator.expressions.errors import Problem
    from orchestrator.expressions.scope import Comparison
    from orchestrator.expressions.syntax import Constant

ROOTS = ("profile", "event", "entry", "latest")


def check(tree: Syntax, environment: Environment) -> Typed:
    """Return the typed tree.

    Raises:
        ExpressionError: At the first token that does not fit.
    """
    return Checker(environment).check(tree)


class Checker:
    """One pass over one tree."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def check(self, node: Syntax) -> Typed:  # noqa: PLR0911 - one case for each kind of node
        """Return the typed node."""
        match node:
            case Given(value, offset):
                return Const(type=_constant_type(value), offset=offset, value=value)
            case ListLiteral():
                return self._list(node)
            case Name() | Select():
                return self._path(node)
            case Call():
                return calls.check_call(self, node)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Conditional():
                return self._conditional(node)
            case _:
                assert_never(node)

    def fail(self, problem: Problem, offset: int, text: str, remedy: str = "") -> NoReturn:
        """Refuse."""
        raise ExpressionError(problem, offset, text, remedy)

    # -------------------------------------------------------------------------------- names

    def _path(self, node: Name | Select) -> Typed:
        path = flatten(node)
        if path is None:
            self.fail(
                "bad-expression", node.offset, f"{getattr(node, 'name', '')!r} is a part of nothing"
            )
        root, *rest = path
        if root in (self.environment.records or ()):
            return self._field(root, rest, start(node))
        if root not in ROOTS:
            self._unknown_root(root, rest, start(node))
        if not rest:
            self._alone(root, start(node))
        return self.read(cast("Root", root), rest, start(node))

    def _alone(self, root: str, offset: int) -> NoReturn:
        self.fail(
            "bad-expression",
            offset,
            f"{root} alone is no value",
            f"name what you want of it, as in {root}.plan",
        )

    def _field(self, root: str, rest: list[str], offset: int) -> Field:
        """Return the read of a record's field; nested ones keep their dots."""
        if not rest:
            self._alone(root, offset)
        names, name = (self.environment.records or {})[root], ".".join(rest)
        if name not in names.types and not names.open:
            self.fail(
                "unknown-property",
                offset + len(root) + 1,
                f"{root} has no {name!r}",
                did_you_mean(name, names.types),
            )
        return Field(type=names.types.get(name, names.other), offset=offset, root=root, name=name)

    def _unknown_root(self, root: str, rest: list[str], offset: int) -> NoReturn:
        name = ".".join([root, *rest])
        if name in (self.environment.event_types or ()):
            self.fail(
                "bad-expression", offset, f"{name} is an event, no value", f"write on: {name}"
            )
        names = self.environment.profile
        if names is not None and root in names.types:
            remedy = f"write profile.{root}"
        elif self.environment.event is not None and root in self.environment.event.types:
            remedy = f"write event.{root}"
        elif self.environment.records is not None:
            remedy = (
                did_you_mean(root, self.environment.records, listing=False)
                or f"write record.{root}, or the text in quotes: {root!r}"
            )
        else:
            remedy = did_you_mean(root, ROOTS, listing=False) or f"text stands in quotes: {root!r}"
        self.fail("bad-expression", offset, f"{root!r} is not known", remedy)

    def read(self, root: Root, rest: list[str], offset: int) -> Read:
        """Return the read of a name; the longest declared one wins."""
        names = self._names(root, offset)
        length = longest(rest, names)
        name = ".".join(rest[:length])
        if length < len(rest):
            if length and not names.open:
                self._no_part(root, name, rest[length], names.types[name], offset)
            name = ".".join(rest)
            if not length:
                self._undeclared(root, name, names, offset)
            return Read(type="any", offset=offset, root=root, name=name)
        derived = self.environment.derived.get(name) if root == "profile" else None
        return Read(
            type=names.types[name],
            offset=offset,
            root=root,
            name=name,
            timed=root == "profile" and name in self.environment.timed,
            derived=None if derived is None else derived.tree,
        )

    def _names(self, root: Root, offset: int) -> Names:
        names: Names | None = getattr(self.environment, root)
        if names is None:
            self.fail(
                "bad-expression" if root == "profile" else "no-event-here",
                offset,
                f"{root} cannot be read here",
                self.environment.missing.get(root, ""),
            )
        return names

    def _undeclared(self, root: Root, name: str, names: Names, offset: int) -> None:
        if names.open or self.environment.lenient:
            return
        where = offset + len(root) + 1
        if root == "profile":
            self.fail(
                "unknown-trait",
                where,
                f"trait {name!r} is not declared in profile.yaml",
                did_you_mean(name, names.types),
            )
        self.fail(
            "unknown-property",
            where,
            f"no event that can stand here has a property {name!r}",
            did_you_mean(name, names.types),
        )

    def _no_part(self, root: Root, name: str, part: str, type_: Type, offset: int) -> None:
        if not self.environment.lenient:
            self.fail(
                "type-error",
                offset + len(root) + 1,
                f"{root}.{name} is a {type_} and has no part {part!r}",
                "a function needs brackets" if part in calls.FUNCTION_NAMES else "",
            )

    # ---------------------------------------------------------------------------- operators

    def boolean(self, node: Syntax, what: str) -> Typed:
        """Return the typed node, which must be a condition."""
        typed = self.check(node)
        if typed.type not in ("boolean", "any", "null"):
            self.fail(
                "type-error",
                start(node),
                f"{what} must be true or false, this is a {typed.type}",
                "compare it with something, or test has(...)",
            )
        return typed

    def _unary(self, node: Unary) -> Typed:
        if node.operator == "!":
            return Not(
                type="boolean", offset=node.offset, of=self.boolean(node.operand, "what ! turns")
            )
        typed = self.check(node.operand)
        if typed.type not in (*NUMERIC, "any", "null"):
            self.fail("type-error", node.offset, f"- needs a number, this is a {typed.type}")
        return Negate(type=typed.type, offset=node.offset, of=typed)

    def _conditional(self, node: Conditional) -> Typed:
        condition = self.boolean(node.condition, "what stands before ?")
        then, otherwise = self.check(node.then), self.check(node.otherwise)
        type_ = unify(then.type, otherwise.type)
        if type_ is None:
            self.fail(
                "type-error",
                start(node.otherwise),
                f"one arm is a {then.type}, the other a {otherwise.type}",
                "make them the same, for example with string(...)",
            )
        return Either(
            type=type_, offset=node.offset, condition=condition, then=then, otherwise=otherwise
        )

    def _list(self, node: ListLiteral) -> Typed:
        items = tuple(self.check(item) for item in node.items)
        type_: Type = "null"
        for item, written in zip(items, node.items, strict=True):
            unified = unify(type_, item.type)
            if unified is None or element_of(item.type) is not None:
                self.fail(
                    "type-error", start(written), f"a list of {type_} cannot hold a {item.type}"
                )
            type_ = unified
        return ListOf(type=list_of(type_), offset=node.offset, items=items)

    def _binary(self, node: Binary) -> Typed:
        match node.operator:
            case "&&" | "||":
                return self._logic(node)
            case "in":
                return self._in(node)
            case "==" | "!=" | "<" | "<=" | ">" | ">=":
                return self._compare(node, node.operator)
            case "+" | "-" | "*" | "/" | "%":
                return self._arithmetic(node)
            case _:
                assert_never(node.operator)

    def _logic(self, node: Binary) -> Typed:
        operands: list[Syntax] = []
        rest: Syntax = node
        while isinstance(rest, Binary) and rest.operator == node.operator:
            operands.append(rest.right)
            rest = rest.left
        operands.append(rest)
        items = tuple(
            self.boolean(operand, f"each side of {node.operator}") for operand in reversed(operands)
        )
        if node.operator == "&&":
            return And(type="boolean", offset=node.offset, items=items)
        return Or(type="boolean", offset=node.offset, items=items)

    def _compare(self, node: Binary, comparison: Comparison) -> Typed:
        left, right = self.check(node.left), self.check(node.right)
        for one, other in ((left, right), (right, left)):
            if isinstance(one, Const) and one.value is None:
                if comparison not in ("==", "!="):
                    self.fail(
                        "type-error",
                        node.offset,
                        f"{comparison} with null is always false",
                        "test with == null or != null",
                    )
                return IsNull(
                    type="boolean", offset=node.offset, of=other, negated=comparison == "!="
                )
        unified = unify(left.type, right.type)
        if unified is None:
            self.fail(
                "type-error",
                node.offset,
                f"{comparison} compares a {left.type} with a {right.type}",
                _conversion(left.type, right.type),
            )
        if unified not in ("any", "null") and unified not in ORDERED:
            if element_of(unified) is not None:
                self.fail("type-error", node.offset, "lists are not compared", "use in, or size()")
            if comparison not in ("==", "!="):
                self.fail("type-error", node.offset, f"a {unified} has no order")
        return Compare(
            type="boolean", offset=node.offset, comparison=comparison, left=left, right=right
        )

    def _in(self, node: Binary) -> Typed:
        item, options = self.check(node.left), self.check(node.right)
        element = element_of(options.type)
        if element is None and options.type not in ("any", "null"):
            self.fail(
                "type-error",
                start(node.right),
                f"in needs a list, this is a {options.type}",
                "for a part of a text use contains()" if options.type == "string" else "",
            )
        if element_of(item.type) is not None:
            self.fail("type-error", start(node.left), "a list is in no list")
        if element is not None and unify(item.type, element) is None:
            self.fail("type-error", node.offset, f"a {item.type} is never in a list of {element}")
        return In(type="boolean", offset=node.offset, item=item, options=options)

    def _arithmetic(self, node: Binary) -> Typed:
        operation = node.operator
        left, right = self.check(node.left), self.check(node.right)
        types = {left.type, right.type} - {"null", "any"}
        allowed = {"long"} if operation == "%" else set(NUMERIC)
        if types == {"string"} and operation == "+":
            type_: Type = "string" if "any" not in (left.type, right.type) else "any"
        elif types <= allowed:
            type_ = unify(left.type, right.type) or "double"
        else:
            self.fail(
                "type-error",
                node.offset,
                f"{operation} does not go with a {left.type} and a {right.type}",
                _conversion(left.type, right.type),
            )
        return Arithmetic(
            type=type_,
            offset=node.offset,
            operation=operation,  # type: ignore[arg-type]  # narrowed by the caller's match
            left=left,
            right=right,
        )


def flatten(node: Syntax) -> list[str] | None:
    """Return the path ``root.a.b`` as its names, or None if ``node`` is no path."""
    names: list[str] = []
    while isinstance(node, Select):
        names.append(node.name)
        node = node.of
    if not isinstance(node, Name):
        return None
    names.append(node.name)
    return names[::-1]


def longest(path: list[str], names: Names) -> int:
    """Return how many parts of ``path`` make the longest declared name; 0 = none does."""
    for length in range(len(path), 0, -1):
        if ".".join(path[:length]) in names.types:
            return length
    return 0


def _constant_type(value: Constant) -> Type:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "long"
        case float():
            return "double"
        case str():
            return "string"
        case _:
            assert_never(value)


def _conversion(left: Type, right: Type) -> str:
    pair = {left, right}
    if pair == {"timestamp"}:
        return "for the time between two instants use days_since(t)"
    if pair >= {"timestamp", "string"}:
        return "write timestamp('2026-05-01T09:00:00Z')"
    if "timestamp" in pair:
        return "for a number of days use days_since(t)"
    if "string" in pair and pair & NUMERIC:
        return "convert with string(...), long(...) or double(...)"
    return ""
