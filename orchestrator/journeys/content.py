"""What a message's template refers to, found without a template engine.

Sinks render with Jinja2 and see ``profile``, ``entry`` and ``latest``, holding just the names found
here. Supported inside ``{{ ... }}`` and ``{% ... %}``: ``profile.NAME``, ``entry.NAME``,
``latest.NAME`` (also ``profile["NAME"]``), wherever they stand; a method behind a declared name
(``profile.name.upper()``) is left to Jinja2. Texts in quotes, comments and ``{% raw %}`` are skipped.
A root alone, computed names, and variables that nobody sets are findings: they would fail at the
send.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Root = Literal["profile", "entry", "latest", "event"]
TAG = re.compile(
    r"""\{\#.*?\#\}                                                        # a comment
      | \{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}
      | (?P<open>\{\{|\{%)(?P<body>(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|.)*?)(?:\}\}|%\})""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?<![\w.])(?P<root>profile|entry|latest|event)\b
        (?P<path>(?:\s*\.\s*[A-Za-z_]\w*|\s*\[\s*(?:"[^"\\]*"|'[^'\\]*')\s*\])*)
        (?P<call>\s*\()?""",
    re.VERBOSE,
)
_STEP = re.compile(r"""\.\s*([A-Za-z_]\w*)|\[\s*(?:"([^"]*)"|'([^']*)')\s*\]""")
_GUARD = re.compile(r"\s*\|\s*(?:default|d)\b|\s+is\s+(?:not\s+)?(?:un)?defined\b")
_FIRST = re.compile(r"-?\s*([A-Za-z_]\w*)\s*(.)?", re.DOTALL)
_SET = re.compile(
    r"-?\s*(?:set\s+([\w\s,]+?)\s*(?:=|-?$)|for\s+([\w\s,]+?)\s+in\b|with\s+(\w+)\s*=|macro\s+(\w+)\s*\(([^)]*)\))"
)
_ALWAYS = frozenset(
    "true false none True False None not loop range dict lipsum cycler joiner namespace super self caller "
    "varargs kwargs unsubscribe_url preferences_url".split()
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One reference; ``called``: the last part is a method. Offset within the text.

    ``guarded``: the template knows what to do where the value is missing.
    """

    root: Root
    path: tuple[str, ...]
    offset: int
    called: bool
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Stray:
    """A name that nobody sets."""

    name: str
    offset: int


def variables(text: str) -> tuple[list[Variable], list[Stray]]:
    """Return what ``text`` refers to, in its order."""
    found: list[Variable] = []
    strays: list[Stray] = []
    known = set(_ALWAYS)
    for tag in TAG.finditer(text):
        body = tag["body"]
        if body is None:
            continue
        known |= _defined(body)
        begin = tag.start("body")
        found.extend(
            _variable(part, begin)
            for part in _PART.finditer(body)
            if part["root"] is not None and part["root"] not in known
        )
        first = _FIRST.match(body) if tag["open"] == "{{" else None
        if first is not None and first[1] not in {*known, "profile", "entry", "latest", "event"}:
            strays.append(Stray(first[1], begin + first.start(1)))
    return found, strays


def _defined(body: str) -> set[str]:
    match = _SET.match(body)
    if match is None:
        return set()
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(group for group in match.groups() if group)))


def _variable(part: re.Match[str], begin: int) -> Variable:
    path = tuple(a or b or c for a, b, c in _STEP.findall(part["path"]))
    guarded = _GUARD.match(part.string, part.end()) is not None
    offset, called = begin + part.start("root"), part["call"] is not None
    return Variable(part["root"], path, offset, called, guarded)  # type: ignore[arg-type]
