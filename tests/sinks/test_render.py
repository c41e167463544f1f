"""Templates: sandboxed, strict, and never an empty space in a customer's mail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.errors import DefinitionMissing
from orchestrator.records import Action, Definition
from orchestrator.sinks.render import Renderer, TemplateFailed, nest


def action(content: dict[str, Any], channel: str = "email") -> Action:
    return Action(
        action_id="a", customer_id="c", channel=channel, message="m", template="h", content=content,
        journey="j", journey_version="v", entry_id="e", step="s", decision_id="d", category="k",
        priority=1, decided_at=0, caused_by="x",
    )  # fmt: skip


def render(fields: dict[str, str], content: dict[str, Any]) -> dict[str, str]:
    source = json.dumps({"message": "m", "channels": {"email": fields}})
    definition = Definition(kind="message", name="m", hash="h", source=source)
    return Renderer({"h": definition}.get).render(action(content))


@pytest.mark.parametrize(
    "text",
    [
        "{{ profile.name | default('there') }}",
        "{{ profile.name or 'there' }}",
        "{% if profile.name %}{{ profile.name }}{% else %}there{% endif %}",
        "{% if profile.name is defined %}{{ profile.name }}{% else %}there{% endif %}",
        "{{ profile.address.city | default('there') }}",
    ],
)
@pytest.mark.parametrize("content", [{}, {"profile.plan": "free"}])
def test_what_is_missing_can_be_provided_for(text: str, content: dict[str, Any]) -> None:
    """Also for a customer of whom nothing is known: there is no ``profile`` to look into then."""
    assert render({"text": text}, content) == {"text": "there"}


@pytest.mark.parametrize("text", ["{{ profile.name }}", "{{ profile.a.b }}", "{{ x }}"])
def test_what_is_missing_is_never_printed(text: str) -> None:
    with pytest.raises(TemplateFailed, match="undefined"):
        render({"text": text}, {})


def test_dotted_names() -> None:
    got = render(
        {"text": "{{ profile.name }} {{ event.a.b }}"}, {"profile.name": "Ada", "event.a.b": 1}
    )
    assert got == {"text": "Ada 1"}


def test_only_html_is_escaped() -> None:
    got = render({"text": "{{ x }}", "html": "{{ x }}"}, {"x": "<b>"})
    assert got == {"text": "<b>", "html": "&lt;b&gt;"}


@pytest.mark.parametrize("content", [{}, {"profile.name": None}])
def test_what_is_missing_fails(content: dict[str, Any]) -> None:
    """Undefined and null alike."""
    with pytest.raises(TemplateFailed):
        render({"text": "Hello {{ profile.name }}"}, content)


def test_null_can_have_a_fallback() -> None:
    assert render({"text": "{{ name or 'you' }}"}, {"name": None}) == {"text": "you"}


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ x.append(1) }}",
        "{% for i in range(9999999) %}{% endfor %}",
        "{{ 1/0 }}",
        "{% broken",
        "{{ x.y.z }}",
        r"{{ '\ud800' }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_hostile_and_broken_templates_fail(template: str) -> None:
    """A failed message, never a failed sink."""
    with pytest.raises(TemplateFailed):
        render({"text": template}, {"x": "v"})


def test_errors_do_not_quote_values() -> None:
    """Texts go to logs and ledgers."""
    with pytest.raises(TemplateFailed) as caught:
        render({"text": "{{ name|int(base=99) }} {{ name + 1 }}"}, {"name": "secret-value"})
    assert "secret-value" not in str(caught.value)


def test_a_definition_that_has_not_arrived_is_waited_for() -> None:
    with pytest.raises(DefinitionMissing):
        Renderer(lambda _: None).render(action({}))


def test_a_channel_without_content_fails() -> None:
    source = json.dumps({"message": "m", "channels": {}})
    definition = Definition(kind="message", name="m", hash="h", source=source)
    with pytest.raises(TemplateFailed, match="no content for email"):
        Renderer({"h": definition}.get).render(action({}))


def test_nesting_wins_over_a_value() -> None:
    assert nest({"a": 1, "a.b": 2}) == {"a": {"b": 2}}
