"""Shapes: what may stand where.

The grammar is written in them, once; checking, defaults, canonical JSON and the editors' JSON
Schemas all follow from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


class _Nothing:
    """The type of ``NOTHING``."""


NOTHING: Final = _Nothing()
"""No default: an absent key is not the same as any value."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of a form; ``what`` completes the sentence "here stands ..."."""

    what: str
    pattern: str = r"(?s).*\S.*"
    maximum: int = 200

    def fits(self, text: str) -> bool:
        """Return whether ``text`` has the form."""
        return len(text) <= self.maximum and re.fullmatch(self.pattern, text) is not None


@dataclass(frozen=True, slots=True)
class Field(Text):
    """A field of a message: any text, also an empty one, up to 256 Ki characters."""


@dataclass(frozen=True, slots=True)
class Word:
    """One of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Again:
    """``never``, ``always`` or ``after DUR``; or, with other words and prefix, ``day``, ``rolling DUR``."""

    words: tuple[str, ...] = ("never", "always")
    prefix: str = "after"


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds."""

    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Percent:
    """0 to 100 with at most two decimals; ``10%`` is read too."""


@dataclass(frozen=True, slots=True)
class DurationText:
    """ISO 8601 without years and months."""

    positive: bool = False


@dataclass(frozen=True, slots=True)
class Clock:
    """``HH:MM``."""


@dataclass(frozen=True, slots=True)
class Instant:
    """ISO 8601 with time and offset."""


@dataclass(frozen=True, slots=True)
class Zone:
    """An IANA time zone."""


@dataclass(frozen=True, slots=True)
class Until:
    """An expression, or ``next HH:MM``."""


@dataclass(frozen=True, slots=True)
class Expr:
    """An expression; where it stands decides what it may name."""


@dataclass(frozen=True, slots=True)
class AnyScalar:
    """Any value that a trait or a property may hold."""


@dataclass(frozen=True, slots=True)
class Anything:
    """Anything at all (checked elsewhere)."""


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    of: Shape
    least: int = 0


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """A value or a list of them; canonical is the list."""

    of: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """Any keys of a form."""

    key: Text
    value: Shape
    least: int = 0


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``default`` may depend on its neighbours (already checked)."""

    shape: Shape
    required: bool = False
    default: Any = NOTHING
    beside: tuple[str, ...] = ()
    """Stands only beside one of these keys."""
    preset: Callable[[Mapping[str, Any]], Any] | None = None


@dataclass(frozen=True, slots=True)
class Keys:
    """Known keys. ``one_of``: exactly one of these must be there."""

    keys: Mapping[str, Key]
    one_of: tuple[str, ...] = ()
    what: str = ""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Words that people try, and what to write instead."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """A mapping whose kind is told by the first of ``variants``' keys that it has."""

    variants: Mapping[str, Keys]
    what: str


Shape = (
    Text
    | Word
    | Again
    | Boolean
    | Number
    | Percent
    | DurationText
    | Clock
    | Instant
    | Zone
    | Until
    | Expr
    | AnyScalar
    | Anything
    | Many
    | OneOrMany
    | MapOf
    | Keys
    | ByKey
)
