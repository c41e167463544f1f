"""YAML text to nodes: YAML 1.2 core scalars, one document, no tags, anchors, aliases, merge keys.

PyYAML only cuts the text into events. What a scalar means is decided here, by the core schema: ``no``
and ``22:30`` are texts. What YAML 1.1 tools would read otherwise is warned of where it matters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from orchestrator.journeys.diagnostics import Diagnostic, Mark
from orchestrator.journeys.nodes import Mapping, Node, Plain, Scalar, Sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 40
MAX_BYTES = 1_000_000
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_EXPRESSION = re.compile(
    r"""(?:^|[\s{,\[])(?P<key>if|when|take|expr|by|key|value|address|obsolete_if|until)\s*:\s+
        (?P<text>\S.*?)\s*$""",
    re.VERBOSE,
)
_TRAP = re.compile(r"""^[!&*?|>%@`"]|[\[\]{},]|:\s|\s\#""")
"""What means something else to YAML than to an expression."""
_NEXT_KEY = re.compile(r",\s*[a-z_]+\s*:\s|\}\s*[,\]}]*\s*$")


class _Refused(Exception):  # noqa: N818 - carries the one finding of a document that is no YAML
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(str(diagnostic))
        self.diagnostic = diagnostic


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    mark: Mark
    mapping: bool
    items: list[Node] = field(default_factory=list)


def load(text: str, file: str) -> tuple[Node | None, list[Diagnostic]]:
    """Return the document's node (None if it cannot be read) and what is to be said of it.

    Duplicate keys are findings; the first one counts.
    """
    composer = _Composer(text.removeprefix("\ufeff"), file)
    try:
        return composer.document(), composer.found
    except _Refused as refused:
        return None, [*composer.found, refused.diagnostic]


def decode(data: bytes, file: str) -> tuple[str | None, list[Diagnostic]]:
    """Return a file's text, or the finding that it has none."""
    mark = Mark(file, 1, 1)
    if len(data) > MAX_BYTES:
        return None, [Diagnostic(mark, "yaml-syntax", f"the file is larger than {MAX_BYTES} bytes")]
    try:
        return data.decode(), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        return None, [
            Diagnostic(
                Mark(file, line, column), "yaml-syntax", "the file is not UTF-8", "save it as UTF-8"
            )
        ]


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        self.found: list[Diagnostic] = []

    def document(self) -> Node:
        root: Node | None = None
        stack: list[_Open] = []
        for event in self._events():
            node = self._node(event, stack)
            if node is None:
                continue
            if stack:
                stack[-1].items.append(node)
            else:  # of one document there is one root
                root = node
        if root is None:
            self._refuse(Mark(self._file, 1, 1), "yaml-syntax", "the file is empty")
        return root

    def _node(self, event: Any, stack: list[_Open]) -> Node | None:
        mark = self._mark(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent) and event.tags:
            self._refuse(mark, "yaml-syntax", "tags are not part of the language")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._refuse_mark(event, mark, "anchors and aliases are not part of the language")
        if getattr(event, "tag", None):
            self._refuse_mark(event, mark, f"{event.tag} is a tag to YAML")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, mark)
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= MAX_DEPTH:
                self._refuse(mark, "yaml-syntax", f"the document nests more than {MAX_DEPTH} deep")
            stack.append(_Open(mark, isinstance(event, yaml.MappingStartEvent)))
            return None
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            return self._close(stack.pop())
        return None

    def _events(self) -> Iterator[Any]:
        documents = 0
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        mark = self._mark(event.start_mark)
                        self._refuse(mark, "yaml-syntax", "a file holds one document", "split it")
                yield event
        except yaml.MarkedYAMLError as error:
            self._syntax_error(error)
        except yaml.reader.ReaderError as error:
            before = self._text[: error.position]
            line = before.count("\n")
            mark = Mark(self._file, line + 1, error.position - before.rfind("\n"))
            self._refuse(mark, "yaml-syntax", f"character {error.character!r} is not allowed")

    # ------------------------------------------------------------------------------ nodes

    def _mark(self, mark: Any) -> Mark:
        return Mark(self._file, mark.line + 1, mark.column + 1)

    def _index(self, mark: Any) -> int:
        line, column = int(mark.line), int(mark.column)
        return self._starts[min(line, len(self._starts) - 1)] + column

    def _scalar(self, event: Any, mark: Mark) -> Scalar:
        start, end = self._index(event.start_mark), self._index(event.end_mark)
        raw = self._text[start:end]
        style = event.style or ""
        if style:
            return Scalar(mark, event.value, event.value, style, raw)
        behind = re.compile(r"[ \t]+#(.*)").match(self._text, end)
        comment = "" if behind is None else behind[0]
        value = core_value(event.value)
        return Scalar(mark, value, event.value, "", raw, comment)

    def _close(self, opened: _Open) -> Node:
        if not opened.mapping:
            return Sequence(opened.mark, tuple(opened.items))
        pairs: list[tuple[Scalar, Node]] = []
        seen: dict[str, Mark] = {}
        for key, value in zip(opened.items[::2], opened.items[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._refuse(
                    key.mark,
                    "yaml-syntax",
                    "a key is a word",
                    "quote a text that begins with [ or {",
                )
            if key.text == "<<" and key.plain:
                self._refuse(key.mark, "yaml-syntax", "merge keys are not part of the language")
            if key.text in seen:
                first = seen[key.text]
                self.found.append(
                    Diagnostic(
                        key.mark,
                        "duplicate-key",
                        f"{key.text!r} stands here twice",
                        f"the first is in line {first.line}",
                    )
                )
                continue
            seen[key.text] = key.mark
            pairs.append((key, value))
        return Mapping(opened.mark, tuple(pairs))

    # ----------------------------------------------------------------------------- errors

    def _refuse(self, mark: Mark, name: str, text: str, remedy: str = "") -> NoReturn:
        raise _Refused(Diagnostic(mark, name, text, remedy))

    def _refuse_mark(self, event: Any, mark: Mark, text: str) -> None:
        quoted = self._quoted(event.start_mark.line)
        if quoted is not None:
            self._refuse(mark, "quote-expression", text, quoted[1])
        self._refuse(mark, "yaml-syntax", text)

    def _line(self, number: int) -> str:
        start = self._starts[min(number, len(self._starts) - 1)]
        following = _BREAK.search(self._text, start)
        return self._text[start : following.start() if following else len(self._text)]

    def _quoted(self, number: int) -> tuple[int, str] | None:
        """Return column and quoted form of an expression in a line, if there is one to quote."""
        match = _EXPRESSION.search(self._line(number))
        if match is None or match["text"][0] == "'":
            return None
        text = match["text"]
        if "{" in match.string[: match.start("text")]:
            last = _NEXT_KEY.search(text)
            text = text if last is None else text[: last.start()]
        if _TRAP.search(text) is None:
            return None
        doubled = text.strip().replace("'", "''")
        return match.start("text") + 1, f"write {match['key']}: '{doubled}'"

    def _syntax_error(self, error: yaml.MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        place = Mark(self._file, 1, 1) if mark is None else self._mark(mark)
        number = place.line - 1
        line = self._line(number)
        if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in str(error.problem):
            column = line.find("\t") + 1
            self._refuse(
                Mark(self._file, place.line, column),
                "tab",
                "YAML is not indented by tabs",
                "use spaces",
            )
        numbers = [number]
        if error.context_mark is not None and error.context_mark.line != number:
            numbers.append(number - 1)
        for candidate in numbers:
            quoted = self._quoted(max(candidate, 0))
            if quoted is not None:
                self._refuse(
                    Mark(self._file, candidate + 1, quoted[0]),
                    "quote-expression",
                    "YAML cannot read this expression as it stands",
                    quoted[1],
                )
        text = str(error.problem or error.context or "this is no YAML")
        context = f" {error.context}" if error.context and error.problem else ""
        self._refuse(place, "yaml-syntax", f"{text}{context}")


def core_value(text: str) -> Plain:
    """Return what a plain scalar means by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    if _INT.fullmatch(text):
        if text[:2] in ("0o", "0x"):
            return int(text, 0)
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
