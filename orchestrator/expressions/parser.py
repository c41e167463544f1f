"""Tokens to a syntax tree: recursive descent, CEL's grammar and precedence, bounded.

From loose to tight: ``?:``, ``||``, ``&&``, comparisons and ``in``, ``+ -``, ``* / %``,
``! -``, then selection and calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, assert_never, cast

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.lexer import MAX_LONG, Token, tokenize
from orchestrator.expressions.syntax import (
    Binary,
    Call,
    Conditional,
    Given,
    ListLiteral,
    Name,
    Select,
    Unary,
)

if TYPE_CHECKING:
    from orchestrator.expressions.syntax import BinaryOperator, Syntax, UnaryOperator

MAX_DEPTH = 32
MAX_NODES = 500
_LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
_CONSTANTS = {"true": True, "false": False, "null": None}
_WORDS = {"and": "&&", "or": "||", "not": "!", "is": "=="}


def parse(text: str) -> Syntax:
    """Return the syntax tree of ``text``.

    Raises:
        ExpressionError: It is no expression, or beyond the bounds.
    """
    parser = _Parser(tokenize(text))
    tree = parser.conditional()
    if parser.token.kind != "end":
        parser.unexpected("an operator")
    _check_depth(tree)
    return tree


def _check_depth(tree: Syntax) -> None:  # noqa: C901 - one case for each kind of node
    """Refuse what would nest too many closures; chains of && and || do not nest."""
    stack: list[tuple[Syntax, int]] = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ExpressionError(
                "bad-expression",
                node.offset,
                f"an expression nests at most {MAX_DEPTH} operators deep",
                "move a part of it into a derived trait",
            )
        match node:
            case Binary(operator=("&&" | "||") as operator, left=left, right=right):
                same = isinstance(left, Binary) and left.operator == operator
                stack += [(left, depth if same else depth + 1), (right, depth + 1)]
            case Binary(left=left, right=right):
                stack += [(left, depth + 1), (right, depth + 1)]
            case Unary(operand=operand):
                stack.append((operand, depth + 1))
            case Conditional(condition=condition, then=then, otherwise=otherwise):
                stack += [(condition, depth + 1), (then, depth + 1), (otherwise, depth + 1)]
            case Call(receiver=receiver, arguments=arguments):
                stack += [(item, depth + 1) for item in arguments]
                if receiver is not None:
                    stack.append((receiver, depth + 1))
            case ListLiteral(items=items):
                stack += [(item, depth + 1) for item in items]
            case Select(of=of):
                stack.append((of, depth + 1))
            case Given() | Name():
                pass
            case _:
                assert_never(node)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self._nodes = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._at]

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        if token.kind == "end":
            raise ExpressionError(
                "bad-expression",
                token.offset,
                f"the expression ends where {wanted} should follow",
                "quote the whole expression if YAML has cut it off" if self._at else "",
            )
        remedy = f"write {_WORDS[token.text]}" if token.text in _WORDS else ""
        raise ExpressionError(
            "bad-expression", token.offset, f"{token.text!r} stands where {wanted} should", remedy
        )

    def _next(self) -> Token:
        token = self.token
        self._at += 1
        return token

    def _is(self, text: str) -> bool:
        return self.token.text == text and self.token.kind in ("operator", "name")

    def _accept(self, text: str) -> bool:
        if self._is(text):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            self.unexpected(repr(text))

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_large(f"brackets and conditions nest at most {MAX_DEPTH} deep")

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._too_large(f"an expression has at most {MAX_NODES} operators and operands")

    def _too_large(self, text: str) -> NoReturn:
        raise ExpressionError(
            "bad-expression", self.token.offset, text, "move a part of it into a derived trait"
        )

    def conditional(self) -> Syntax:
        self._enter()
        condition = self._binary(0)
        if self._is("?"):
            offset = self._next().offset
            self._count()
            then = self.conditional()
            self._expect(":")
            otherwise = self.conditional()
            condition = Conditional(condition, then, otherwise, offset)
        self._depth -= 1
        return condition

    def _binary(self, level: int) -> Syntax:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        operators = _LEVELS[level]
        while self.token.text in operators and self.token.kind in ("operator", "name"):
            token = self._next()
            self._count()
            right = self._binary(level + 1)
            left = Binary(cast("BinaryOperator", token.text), left, right, token.offset)
        return left

    def _unary(self) -> Syntax:
        if not (self._is("!") or self._is("-")):
            return self._postfix()
        token = self._next()
        self._count()
        if token.text == "-" and self.token.kind in ("long", "double"):
            return self._postfix(minus=token)
        self._enter()
        operand = self._unary()
        self._depth -= 1
        return Unary(cast("UnaryOperator", token.text), operand, token.offset)

    def _postfix(self, *, minus: Token | None = None) -> Syntax:
        node = self._primary(minus)
        while True:
            if self._is("."):
                self._next()
                token = self.token
                if token.kind != "name":
                    self.unexpected("a name")
                self._next()
                self._count()
                if self._is("("):
                    node = Call(token.text, node, self._arguments(), token.offset)
                else:
                    node = Select(node, token.text, token.offset)
            elif self._is("["):
                self._next()
                token = self.token
                if token.kind != "string":
                    self.unexpected('a name in quotes, as in event["product id"],')
                self._next()
                self._count()
                self._expect("]")
                node = Select(node, str(token.value), token.offset)
            else:
                return node

    def _arguments(self) -> tuple[Syntax, ...]:
        self._expect("(")
        return self._items(")")

    def _items(self, close: str) -> tuple[Syntax, ...]:
        items: list[Syntax] = []
        while not self._is(close):
            items.append(self.conditional())
            if not self._accept(","):
                break
        self._expect(close)
        return tuple(items)

    def _primary(self, minus: Token | None) -> Syntax:  # noqa: PLR0911, RET503 - one case for each form; unexpected() never returns
        self._count()
        token = self.token
        match token.kind:
            case "string":
                self._next()
                return Given(token.value, token.offset)
            case "long" | "double":
                self._next()
                number = cast("int | float", token.value)
                if minus is not None:
                    return Given(-number, minus.offset)
                if number > MAX_LONG and token.kind == "long":
                    raise ExpressionError(
                        "bad-expression", token.offset, f"{token.text} is too large for a long"
                    )
                return Given(number, token.offset)
            case "name" if token.text in _CONSTANTS:
                self._next()
                return Given(_CONSTANTS[token.text], token.offset)
            case "name" if token.text != "in":
                self._next()
                if self._is("("):
                    return Call(token.text, None, self._arguments(), token.offset)
                return Name(token.text, token.offset)
            case _ if self._accept("("):
                node = self.conditional()
                self._expect(")")
                return node
            case _ if self._accept("["):
                return ListLiteral(self._items("]"), token.offset)
            case _:
                self.unexpected("a value")
