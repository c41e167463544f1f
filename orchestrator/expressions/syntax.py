"""The syntax tree, as written; names are not resolved yet. Every node knows its offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Constant = bool | int | float | str | None
BinaryOperator = Literal[
    "&&", "||", "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"
]
UnaryOperator = Literal["!", "-"]


@dataclass(frozen=True, slots=True)
class Given:
    """A constant."""

    value: Constant
    offset: int


@dataclass(frozen=True, slots=True)
class ListLiteral:
    """``[a, b]``."""

    items: tuple[Syntax, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Name:
    """A name that stands alone, or the root of a path."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Select:
    """``of.name``, or ``of["name"]`` with a name that is no identifier."""

    of: Syntax
    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """``name(arguments)``, or ``receiver.name(arguments)``: the receiver is the first argument."""

    name: str
    receiver: Syntax | None
    arguments: tuple[Syntax, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Unary:
    """``!a`` or ``-a``."""

    operator: UnaryOperator
    operand: Syntax
    offset: int


@dataclass(frozen=True, slots=True)
class Binary:
    """``left OPERATOR right``; the offset is that of the operator."""

    operator: BinaryOperator
    left: Syntax
    right: Syntax
    offset: int


@dataclass(frozen=True, slots=True)
class Conditional:
    """``condition ? then : otherwise``."""

    condition: Syntax
    then: Syntax
    otherwise: Syntax
    offset: int


Syntax = Given | ListLiteral | Name | Select | Call | Unary | Binary | Conditional


def start(node: Syntax) -> int:
    """Return the offset of the first token of ``node``."""
    match node:
        case Binary():
            return start(node.left)
        case Conditional():
            return start(node.condition)
        case Select():
            return start(node.of)
        case Call(receiver=receiver) if receiver is not None:
            return start(receiver)
        case _:
            return node.offset
