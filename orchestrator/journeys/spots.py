"""Checked values together with the places they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.journeys import nodes
from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.nodes import Node

MINUTES_OF_DAY = 1440


@dataclass(frozen=True, slots=True)
class Spot:
    """A canonical value and its place: a dict or list of spots, or a scalar."""

    value: Any
    node: Node

    @property
    def mark(self) -> Mark:
        """Where it stands."""
        return self.node.mark

    def get(self, key: str) -> Spot | None:
        """Return what stands under ``key``."""
        found: Spot | None = self.value.get(key)
        return found

    def plain(self, key: str, default: Any = None) -> Any:
        """Return the plain value under ``key``."""
        found = self.value.get(key)
        return default if found is None else strip(found)

    def __getitem__(self, key: str) -> Spot:
        found: Spot = self.value[key]
        return found

    def __contains__(self, key: str) -> bool:
        return key in self.value

    def __iter__(self) -> Iterator[Spot]:
        return iter(self.value)

    def items(self) -> list[tuple[str, Spot]]:
        """Return key and value in the order of keys: nothing depends on an author's order."""
        return sorted(self.value.items())

    def words(self) -> list[Spot]:
        """Return the sound keys themselves, in their order."""
        if not isinstance(self.node, nodes.Mapping):
            return []
        return sorted(
            (Spot(key.text, key) for key, _ in self.node.items if key.text in self.value),
            key=lambda spot: str(spot.value),
        )

    def key_mark(self, key: str) -> Mark:
        """Return where ``key`` itself stands."""
        return next((spot.mark for spot in self.words() if spot.value == key), self.mark)


def strip(spot: Any) -> Any:
    """Return the canonical value without its places."""
    if not isinstance(spot, Spot):
        return spot
    match spot.value:
        case dict() as mapping:
            return {key: strip(value) for key, value in mapping.items()}
        case list() as items:
            return [strip(item) for item in items]
        case value:
            return value


def parse_clock(text: str) -> int | None:
    """Return minutes after midnight of ``HH:MM``, or None."""
    hours, colon, minutes = text.partition(":")
    if not colon or len(hours) != 2 or len(minutes) != 2:  # noqa: PLR2004 - HH:MM
        return None
    if not (hours + minutes).isascii() or not (hours + minutes).isdigit():
        return None
    total = int(hours) * 60 + int(minutes)
    return total if int(minutes) < 60 and total < MINUTES_OF_DAY else None  # noqa: PLR2004 - of an hour
