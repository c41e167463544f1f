"""A document as nodes with marks: what both YAML text and canonical JSON become first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import assert_never

from orchestrator.journeys.diagnostics import Mark

Plain = bool | int | float | str | None
_ESCAPED = re.compile(r"\\(?:x..|u.{4}|U.{8}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value.

    ``raw`` is the text of the document, quotes and all; ``style`` is one of ``'``, ``"``, ``|``,
    ``>``, empty for a plain scalar, and ``json`` for a value that no author has written.
    """

    mark: Mark
    value: Plain
    text: str
    style: str
    raw: str = ""
    comment: str = ""
    """What YAML took for a comment behind a plain scalar."""

    @property
    def plain(self) -> bool:
        """Whether YAML's guesses decide what it means."""
        return not self.style

    def at(self, offset: int) -> Mark:
        """Return where in the document the character ``offset`` of ``text`` stands."""
        if self.style == "|":
            before = self.text[:offset]
            lines = self.raw.split("\n")[1:]
            number = before.count("\n")
            line = lines[number] if number < len(lines) else ""
            indent = len(line) - len(line.lstrip(" "))
            column = indent + len(before) - (before.rfind("\n") + 1) + 1
            return Mark(self.mark.file, self.mark.line + 1 + number, column)
        if self.style in ("", "'", '"'):
            return self._inline(offset)
        return self.mark

    def _inline(self, offset: int) -> Mark:
        index = len(self.style)
        for _ in range(offset):
            if index >= len(self.raw):
                break
            if self.style == "'" and self.raw.startswith("''", index):
                index += 2
            elif self.style == '"' and (escaped := _ESCAPED.match(self.raw, index)):
                index = escaped.end()
            elif folded := re.compile(r"[ \t]*\n\s*").match(self.raw, index):
                index = folded.end()
            else:
                index += 1
        before = self.raw[:index]
        lines = before.count("\n")
        if lines:
            return Mark(self.mark.file, self.mark.line + lines, index - before.rfind("\n"))
        return Mark(self.mark.file, self.mark.line, self.mark.column + index)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with values, in the order of the document; keys are unique."""

    mark: Mark
    items: tuple[tuple[Scalar, Node], ...]


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> object:
    """Return the node as dicts, lists and scalars."""
    match node:
        case Scalar(value=value):
            return value
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Mapping(items=pairs):
            return {key.text: plain(value) for key, value in pairs}
        case _:
            assert_never(node)


def node_of(value: object, mark: Mark) -> Node:
    """Return plain JSON data as nodes that all stand at ``mark``."""
    match value:
        case dict():
            return Mapping(
                mark,
                tuple(
                    (Scalar(mark, key, key, "json"), node_of(item, mark))
                    for key, item in value.items()
                ),
            )
        case list():
            return Sequence(mark, tuple(node_of(item, mark) for item in value))
        case bool():
            return Scalar(mark, value, "true" if value else "false", "json")
        case None:
            return Scalar(mark, None, "null", "json")
        case int() | float() | str():
            return Scalar(mark, value, str(value), "json")
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON")
