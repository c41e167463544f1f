"""What the template engine would refuse: seen by lint, where it can still be mended.

Not a parser: tags that are not closed, blocks that are not ended, filters that there are not. The rest
shows in ``messages preview``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.expressions.suggest import did_you_mean
from orchestrator.journeys.content import TAG

_OPEN = re.compile(r"\{\{|\{%|\{\#")
_TEXTS = re.compile(r"""\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'""")
_WORD = re.compile(r"[-+]?\s*([a-z]+)\b")
_BLOCKS = frozenset("if for macro call filter with block autoescape".split())
FILTERS = frozenset(
    "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float forceescape "
    "format groupby indent int items join last length list lower map max min pprint random reject rejectattr "
    "replace reverse round safe select selectattr slice sort string striptags sum title tojson trim truncate "
    "unique upper urlencode urlize wordcount wordwrap xmlattr".split()
)
"""Those of Jinja2; sinks add none."""
_FILTER = re.compile(r"\|\s*([A-Za-z_]\w*)")
_BETWEEN = {"else": {"if", "for"}, "elif": {"if"}}


@dataclass(frozen=True, slots=True)
class Fault:
    """A tag, block or filter that the template engine cannot read."""

    offset: int
    text: str
    remedy: str


def fault(text: str) -> Fault | None:
    """Return the first tag that is not closed, block that is not ended, or filter that there is not."""
    blocks: list[tuple[str, int]] = []
    end = 0
    for tag in TAG.finditer(text):
        unclosed = _OPEN.search(text, end, tag.start()) or (tag["body"] and _unclosed(tag))
        if unclosed:
            return _open_tag(unclosed.group(), unclosed.start())
        end = tag.end()
        found = _strange_filter(tag) or _block(tag, blocks)
        if found is not None:
            return found
    unclosed = _OPEN.search(text, end)
    if unclosed:
        return _open_tag(unclosed.group(), unclosed.start())
    if blocks:
        name, offset = blocks[-1]
        return Fault(offset, f"nothing ends this {name}", f"write {{% end{name} %}}")
    return None


def _block(tag: re.Match[str], blocks: list[tuple[str, int]]) -> Fault | None:
    """Follow a tag into and out of blocks; return what is wrong about its place."""
    word = _WORD.match(tag["body"] or "") if tag["open"] == "{%" else None
    if word is None:
        return None
    name, offset = word[1], tag.start()
    if name in _BLOCKS or (name == "set" and "=" not in tag["body"]):
        blocks.append((name, offset))
    elif name.startswith("end") or name in _BETWEEN:
        opened = blocks[-1][0] if blocks else ""
        if opened not in _BETWEEN.get(name, {name.removeprefix("end")}):
            return _misplaced(name, opened, offset)
        if name not in _BETWEEN:
            blocks.pop()
    return None


def _strange_filter(tag: re.Match[str]) -> Fault | None:
    body = _TEXTS.sub(lambda text: " " * len(text.group()), tag["body"] or "")
    for found in _FILTER.finditer(body):
        if found[1] not in FILTERS:
            offset = tag.start("body") + found.start(1)
            remedy = did_you_mean(found[1], FILTERS) or "see the filters of Jinja2"
            return Fault(offset, f"there is no filter {found[1]!r}", remedy)
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
