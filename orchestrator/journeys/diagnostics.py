"""Findings in a workspace: numbers never change, names say what, the text says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NUMBERS: Final = {
    "yaml-syntax": "J001",
    "quote-expression": "J001",
    "tab": "J001",
    "duplicate-key": "J002",
    "unknown-key": "J003",
    "missing-key": "J004",
    "wrong-type": "J005",
    "bad-duration": "J006",
    "bad-time": "J007",
    "unknown-timezone": "J008",
    "duplicate-name": "J009",
    "unknown-trait": "J010",
    "unknown-event": "J011",
    "unknown-message": "J012",
    "unknown-step": "J013",
    "unknown-channel": "J014",
    "unknown-category": "J015",
    "wrong-step": "J016",
    "duplicate-step": "J017",
    "unknown-property": "J018",
    "unknown-journey": "J019",
    "bad-expression": "J020",
    "type-error": "J021",
    "no-event-here": "J022",
    "unwatchable": "J023",
    "unknown-identity": "J024",
    "wrong-format": "J025",
    "cycle-without-wait": "J030",
    "unreachable-step": "J031",
    "unreachable-arm": "J032",
    "bad-shares": "J033",
    "no-content": "J034",
    "missing-address": "J035",
    "impossible-cap": "J040",
    "never-binding-cap": "J041",
    "overlapping-quiet-hours": "J042",
    "never-allowed": "J043",
    "meaningless-on-block": "J044",
    "quote-time": "J050",
    "quote-country": "J050",
    "flapping-lifecycle": "J051",
    "no-default-arm": "J052",
    "not-learned": "J053",
    "missing-value": "J054",
}

WARNINGS: Final = frozenset(
    "never-binding-cap quote-time quote-country flapping-lifecycle no-default-arm not-learned "
    "missing-value".split()
)
"""These alone do not keep a workspace from being applied."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. ``str()`` gives ``FILE:LINE:COLUMN: J011 unknown-event: TEXT; REMEDY``."""

    mark: Mark
    name: str
    text: str
    remedy: str = ""

    @property
    def number(self) -> str:
        """The number that never changes."""
        return NUMBERS[self.name]

    @property
    def warning(self) -> bool:
        """Whether the workspace works all the same."""
        return self.name in WARNINGS

    def __str__(self) -> str:
        tail = f"; {self.remedy}" if self.remedy else ""
        return f"{self.mark}: {self.number} {self.name}: {self.text}{tail}"
