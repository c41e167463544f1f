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
_TAG = re.compile(
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
_OPEN = re.compile(r"\{\{|\{%|\{\#")
_TEXTS = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")
_WORD = re.compile(r"[-+]?\s*([a-z]+)\b")
_BLOCKS = frozenset("if for macro call filter with block autoescape".split())
_BETWEEN = {"else": {"if", "for"}, "elif": {"if"}}


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
    for tag in _TAG.finditer(text):
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


@dataclass(frozen=True, slots=True)
class Fault:
    """A tag or block that the template engine cannot read."""

    offset: int
    text: str
    remedy: str


def fault(text: str) -> Fault | None:
    """Return the first tag that is not closed, or block that is not ended where it should."""
    blocks: list[tuple[str, int]] = []
    end = 0
    for tag in _TAG.finditer(text):
        unclosed = _OPEN.search(text, end, tag.start()) or (tag["body"] and _unclosed(tag))
        if unclosed:
            return _open_tag(unclosed.group(), unclosed.start())
        end = tag.end()
        word = _WORD.match(tag["body"] or "") if tag["open"] == "{%" else None
        if word is None:
            continue
        name, offset = word[1], tag.start()
        if name in _BLOCKS or (name == "set" and "=" not in tag["body"]):
            blocks.append((name, offset))
        elif name.startswith("end") or name in _BETWEEN:
            opened = blocks[-1][0] if blocks else ""
            if opened not in _BETWEEN.get(name, {name.removeprefix("end")}):
                return _misplaced(name, opened, offset)
            if name not in _BETWEEN:
                blocks.pop()
    unclosed = _OPEN.search(text, end)
    if unclosed:
        return _open_tag(unclosed.group(), unclosed.start())
    if blocks:
        name, offset = blocks[-1]
        return Fault(offset, f"nothing ends this {name}", f"write {{% end{name} %}}")
    return None


def _unclosed(tag: re.Match[str]) -> re.Match[str] | None:
    """Return a tag that only another one's end closes."""
    body = _TEXTS.sub("", tag["body"])
    right = "}}" if tag["open"] == "{{" else "%}"
    return tag if _OPEN.search(body) or not tag.group().endswith(right) else None


def _open_tag(found: str, offset: int) -> Fault:
    opening = found[:2]
    closing = {"{{": "}}", "{%": "%}", "{#": "#}"}[opening]
    return Fault(offset, f"{opening} is not closed", f"write {closing} behind it")


def _misplaced(name: str, opened: str, offset: int) -> Fault:
    if opened and name not in _BETWEEN:
        return Fault(offset, f"{name} ends no {opened}", f"write {{% end{opened} %}} first")
    return Fault(offset, f"{name} stands alone", "write what it belongs to before it")


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
