"""Text to tokens; each keeps its offset, so that every error can point at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from orchestrator.expressions.errors import ExpressionError

MAX_LENGTH = 4_000
"""Characters. What is longer than this is a program, and belongs upstream."""
MAX_LONG = 2**63 - 1

_LAST_CODE = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)

Kind = Literal["name", "string", "long", "double", "operator", "end"]

_TOKEN = re.compile(
    r"""
    (?P<space>[\ \t\r\n]+)
  | (?P<double>(?:\d+\.\d+|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
  | (?P<long>0[xX][0-9a-fA-F]+|\d+)
  | (?P<string>[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(
    r"""\\(?:([abfnrtv\\?"'`])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.)|$)"""
)
_SIMPLE = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_INSTEAD = {
    "=": "to compare write ==",
    "&": "write &&",
    "|": "write ||",
    "#": "in YAML, a space and # begin a comment: quote the whole expression",
    '"': "this string is not closed",
    "'": "this string is not closed",
    "{": "maps are not part of the language",
}


@dataclass(frozen=True, slots=True)
class Token:
    """``text`` as written; ``value`` of a literal."""

    kind: Kind
    text: str
    offset: int
    value: str | int | float = ""


def tokenize(text: str) -> list[Token]:
    """Return the tokens of ``text`` with an ``end`` token behind them.

    Raises:
        ExpressionError: A character that begins no token, or a literal out of range.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            "bad-expression",
            MAX_LENGTH,
            f"an expression has at most {MAX_LENGTH} characters",
            "move a part of it into a derived trait",
        )
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(
                "bad-expression",
                at,
                f"unexpected character {text[at]!r}",
                _INSTEAD.get(text[at], ""),
            )
        if match.lastgroup != "space":
            tokens.append(_token(match, at))
        at = match.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def _token(match: re.Match[str], at: int) -> Token:
    text = match.group()
    match match.lastgroup:
        case "double":
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise ExpressionError("bad-expression", at, f"{text} is too large for a double")
            return Token("double", text, at, number)
        case "long":
            whole = int(text, 0) if text[:2] in ("0x", "0X") else int(text)
            if whole > MAX_LONG + 1:
                raise ExpressionError("bad-expression", at, f"{text} is too large for a long")
            return Token("long", text, at, whole)
        case "string":
            return Token("string", text, at, _unquote(text, at))
        case "name":
            return Token("name", text, at)
        case _:
            return Token("operator", text, at)


def _unquote(text: str, at: int) -> str:
    if text[0] in "rR":
        return text[2:-1]
    body = text[1:-1]
    if "\\" not in body:
        return body

    def character(match: re.Match[str]) -> str:
        simple, byte, short, long, octal, _wrong = match.groups()
        if simple:
            return _SIMPLE.get(simple, simple)
        code = int(byte or short or long or "0", 16) if octal is None else int(octal, 8)
        if not (byte or short or long or octal):
            raise ExpressionError(
                "bad-expression",
                at + 1 + match.start(),
                f"unknown escape {match.group()}",
                "write two backslashes for one, or r'...' for a pattern",
            )
        if code > _LAST_CODE or code in _SURROGATES:
            raise ExpressionError(
                "bad-expression", at + 1 + match.start(), f"{match.group()} is no character"
            )
        return chr(code)

    return _ESCAPE.sub(character, body)
