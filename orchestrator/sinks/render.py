"""Action -> the fields of its message: Jinja2, sandboxed, strict.

A template sees the action's ``content``, and ``unsubscribe_url`` and ``preferences_url`` where links are
configured, and nothing else. ``{"profile.name": "Ada"}`` is read as
``{{ profile.name }}``. What is undefined, or null and printed bare, is an error and not an empty
space in a customer's mail; ``{{ profile.name or "there" }}`` says what to do without a name.
``html`` fields are escaped, the others are plain text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import ChainableUndefined, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.errors import DefinitionMissing
from orchestrator.links import Links
from orchestrator.records import Action, Definition, Value

MAX_FIELD = 262_144
"""Characters of one rendered field: beyond it somebody's loop has run away."""


_BROKEN = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RuntimeError,
    MemoryError,
)
"""What an author's expression can end in; it must cost its message alone, never the sink."""


class TemplateFailed(Exception):  # noqa: N818 - becomes a receipt, ends nothing
    """The message cannot be rendered; the text names field and cause, never a value."""


class _Missing(ChainableUndefined, StrictUndefined):
    """What is not there, at whatever depth: false, and an error once it is printed.

    A customer without any trait has no ``profile`` at all; ``{{ profile.name or "there" }}`` and
    ``| default("there")`` must do for them, too.
    """

    def __bool__(self) -> bool:  # type: ignore[override]
        return False


def _printed(value: object) -> object:
    if value is None:
        raise TemplateError("a null value is printed; write {{ name or 'fallback' }}")
    return value


def _environment(*, escaped: bool) -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=_Missing, autoescape=escaped, finalize=_printed, keep_trailing_newline=True
    )


class Renderer:
    """Renders with the definition that the action names; compiled templates are kept."""

    def __init__(
        self, find: Callable[[str], Definition | None], links: Links | None = None
    ) -> None:
        self._find = find
        self._links = links
        self._plain = _environment(escaped=False)
        self._html = _environment(escaped=True)
        self._compiled: dict[tuple[str, str], dict[str, Template]] = {}

    def render(self, action: Action) -> dict[str, str]:
        """Return the message's fields for the action's channel.

        Raises:
            DefinitionMissing: The definition has not arrived yet: wait.
            TemplateFailed: The receipt's reason is ``template``.
        """
        templates = self._templates(action)
        values = nest(action.content)
        if self._links is not None:
            values["unsubscribe_url"] = self._links.unsubscribe(action)
            values["preferences_url"] = self._links.preferences(action.customer_id)
        fields = {}
        for name, template in templates.items():
            try:
                text = template.render(values)
                text.encode()  # a literal like "\\ud800" is no text that anybody takes
            except _BROKEN as error:
                raise TemplateFailed(f"{name}: {type(error).__name__}: {_text(error)}") from error
            if len(text) > MAX_FIELD:
                raise TemplateFailed(f"{name}: longer than {MAX_FIELD} characters")
            fields[name] = text
        return fields

    def _templates(self, action: Action) -> dict[str, Template]:
        at = (action.template, action.channel)
        if at not in self._compiled:
            self._compiled[at] = self._compile(action)
        return self._compiled[at]

    def _compile(self, action: Action) -> dict[str, Template]:
        definition = self._find(action.template)
        if definition is None:
            raise DefinitionMissing(f"definition {action.template} has not arrived yet")
        channels: dict[str, Any] = json.loads(definition.source).get("channels") or {}
        fields = channels.get(action.channel)
        if not isinstance(fields, dict):
            raise TemplateFailed(f"message {definition.name} has no content for {action.channel}")
        compiled = {}
        for name, text in fields.items():
            environment = self._html if name == "html" else self._plain
            try:
                compiled[name] = environment.from_string(str(text))
            except TemplateError as error:
                raise TemplateFailed(f"{name}: {error}") from error
        return compiled


def nest(content: Mapping[str, Value]) -> dict[str, Any]:
    """Return dotted names as nested dicts; a value that stands where others nest gives way."""
    nested: dict[str, Any] = {}
    for name, value in sorted(content.items()):
        *path, last = name.split(".")
        at = nested
        for part in path:
            inner = at.get(part)
            if not isinstance(inner, dict):
                inner = at[part] = {}
            at = inner
        at[last] = value
    return nested


def _text(error: Exception) -> str:
    # Jinja's own texts name variables; others may quote a customer's values.
    return str(error) if isinstance(error, TemplateError) else "cannot be computed"
