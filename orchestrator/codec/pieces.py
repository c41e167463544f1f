"""The pieces that a record written by hand consists of: texts, numbers and maps as Avro has them.

What comes again and again (a journey's name, a reason, the instant of a turn) is encoded once and
looked up from then on; both memories are bounded. What is not plainly of a field's own type makes
them raise one of ``NOT_PLAIN``: the caller lets ``fastavro`` judge it.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Any

_double = Struct("<d").pack
_MOST = 2**63
_KNOWN = 4_096
"""Texts that are remembered; the next one begins anew."""
_LONGEST = 200
"""Bytes of a piece that is remembered."""


class Unusual(Exception):  # noqa: N818 - not an error: another writer's business
    """A value that is not written by hand."""


NOT_PLAIN = (Unusual, UnicodeEncodeError, AttributeError, KeyError, TypeError)
"""What a value that is not of its field's type makes the writers raise."""


def _varint(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 127:  # noqa: PLR2004 - seven bits a byte
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_LENGTHS = tuple(_varint(size) for size in range(1_024))


@lru_cache(maxsize=4_096)  # under load many records are of one instant
def long(number: int) -> bytes:
    """Return a number of 64 bits."""
    if type(number) is not int or not -_MOST <= number < _MOST:
        raise Unusual
    return _varint(number)


def text(given: str) -> bytes:
    """Return a length and UTF-8."""
    data = given.encode()
    size = len(data)
    return (_LENGTHS[size] if size < 1_024 else _varint(size)) + data  # noqa: PLR2004


def optional_text(given: str | None) -> bytes:
    """Return the branch of a union with null, and the text."""
    return b"\0" if given is None else b"\2" + text(given)


def optional_long(given: int | None) -> bytes:
    """Return the branch of a union with null, and the number."""
    return b"\0" if given is None else b"\2" + long(given)


def optional_double(given: float | None) -> bytes:
    """Return the branch of a union with null, and the number."""
    if given is None:
        return b"\0"
    if type(given) is not float:
        raise Unusual
    return b"\2" + _double(given)


class Known(dict[Any, bytes]):
    """Pieces of texts that come again and again: ``known[text]``."""

    def __missing__(self, given: Any) -> bytes:
        """Encode it, and remember it unless it is long."""
        if type(given) is not str and given is not None:
            raise Unusual
        piece = self._piece(given)
        if len(piece) <= _LONGEST:
            if len(self) >= _KNOWN:
                self.clear()
            self[given] = piece
        return piece

    def _piece(self, given: Any) -> bytes:
        return text(given)


class KnownOptional(Known):
    """The same where a field may be null."""

    def _piece(self, given: Any) -> bytes:
        return optional_text(given)


known, known_optional = Known(), KnownOptional()


def values(mapping: dict[str, Any]) -> bytes:
    """Return a map of null, boolean, long, double and string, in the order of these branches."""
    if type(mapping) is not dict:
        raise Unusual
    if not mapping:
        return b"\0"
    parts = [_LENGTHS[len(mapping)] if len(mapping) < len(_LENGTHS) else _varint(len(mapping))]
    for name, value in mapping.items():
        parts.append(known[name])
        kind = type(value)
        if kind is str:
            parts += (b"\10", text(value))
        elif kind is int:
            parts += (b"\4", long(value))
        elif kind is float:
            parts += (b"\6", _double(value))
        elif kind is bool:
            parts.append(b"\2\1" if value else b"\2\0")
        elif value is None:
            parts.append(b"\0")
        else:
            raise Unusual
    parts.append(b"\0")
    return b"".join(parts)
