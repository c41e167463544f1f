"""What templates refer to, found by scanning."""

import pytest

from orchestrator.journeys.content import variables


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no template", []),
        ("{{ profile.name }}", ["profile.name"]),
        ("{{profile.name}} {{ entry.a.b }}", ["profile.name", "entry.a.b"]),
        ("{{ profile.name or latest.name }}", ["profile.name", "latest.name"]),
        ("{% if profile.vip %}x{% endif %}", ["profile.vip"]),
        ("{%- if entry.n > latest.m -%}x{%- endif -%}", ["entry.n", "latest.m"]),
        ('{{ profile["first name"] }}', ["profile.first name"]),
        ("{{ profile['a'].b }}", ["profile.a.b"]),
        ("{{ 'profile.name' }}", []),
        ('{{ "}} profile.x" }}{{ profile.y }}', ["profile.y"]),
        ("{# {{ profile.name }} #}", []),
        ("{% raw %}{{ profile.name }}{% endraw %}", []),
        ("{{ profile.name | upper }}", ["profile.name"]),
        ("{{ profile.name.upper() }}", ["profile.name.upper()"]),
        ("{{ my_profile.name }}", []),
        ("{{ x.profile.name }}", []),
        ("{% for entry in profile.tags %}{{ entry.name }}{% endfor %}", ["profile.tags"]),
        ("{{ event.plan }}", ["event.plan"]),
        ("{{ profile }}", ["profile"]),
        ("{ profile.name }", []),
    ],
)
def test_references(text, found):
    """Roots with their paths, wherever they stand; texts, comments and raw parts are skipped."""
    references, _ = variables(text)
    assert [
        ".".join([each.root, *each.path]) + ("()" if each.called else "") for each in references
    ] == found
    for each in references:
        assert text[each.offset :].startswith(each.root)


@pytest.mark.parametrize(
    ("text", "strays"),
    [
        ("{{ name }}", ["name"]),
        ("{{- name }}", ["name"]),
        ("{% set name = 1 %}{{ name }}", []),
        ("{% set name %}x{% endset %}{{ name }}", []),
        ("{% for tag in profile.tags %}{{ tag }}{{ loop.index }}{% endfor %}", []),
        ("{% for a, b in profile.tags %}{{ a }}{{ b }}{% endfor %}", []),
        ("{% with name = 1 %}{{ name }}{% endwith %}", []),
        ("{% macro m(x, y) %}{{ x }}{{ y }}{% endmacro %}{{ m(1, 2) }}", []),
        ("{{ range(3) }} {{ 5 }} {{ 'x' }} {{ true }} {{ (name) }}", []),
    ],
)
def test_strays(text, strays):
    """Names that nobody sets would fail at the send."""
    assert [each.name for each in variables(text)[1]] == strays
