"""What templates refer to, found by scanning."""

import jinja2
import pytest

from orchestrator.journeys.content import variables
from orchestrator.journeys.template_faults import FILTERS, fault

JINJA = jinja2.Environment(autoescape=True)


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


@pytest.mark.parametrize(
    ("text", "offset", "said"),
    [
        ("Hello {{ profile.name }", 6, "{{ is not closed"),
        ("{{ profile.a }, {{ profile.b }}", 0, "{{ is not closed"),
        ("{{ profile.a %} and more", 0, "{{ is not closed"),
        ("{% if profile.a }}x{% endif %}", 0, "{% is not closed"),
        ("a {# note", 2, "{# is not closed"),
        ("{{ 'x' }} {% if profile.a", 10, "{% is not closed"),
        ("{% raw %}{{ x {% endraw %} {{ y", 27, "{{ is not closed"),
        ("{% if profile.a %}x", 0, "nothing ends this if"),
        ("{% if profile.a %}{% for x in profile.b %}{% endif %}", 42, "endif ends no for"),
        ("x{% endif %}", 1, "endif stands alone"),
        ("{% else %}", 0, "else stands alone"),
        ("{% for x in profile.b %}{% elif x %}{% endfor %}", 24, "elif stands alone"),
        ("{% set x %}long", 0, "nothing ends this set"),
    ],
)
def test_what_the_template_engine_cannot_read(text, offset, said):
    """Said at its place; jinja2 refuses the same."""
    with pytest.raises(jinja2.TemplateSyntaxError):
        JINJA.parse(text)
    found = fault(text)
    assert found is not None
    assert (found.offset, found.text) == (offset, said)
    assert found.remedy


def test_filters_are_those_of_the_template_engine():
    """A misspelt one would fail at the send; here it is said before."""
    assert set(FILTERS) == set(jinja2.defaults.DEFAULT_FILTERS)
    found = fault("Hello {{ profile.name | default('a|b') | uppercase }}")
    assert found is not None
    assert (found.offset, found.text) == (41, "there is no filter 'uppercase'")
    assert found.remedy == "did you mean upper?"
    strange = fault("{% if profile.a | zzzzzz %}{% endif %}")
    assert strange is not None
    assert strange.remedy == "see the filters of Jinja2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{ profile.name } }} %}",
        "{{ '{{ }}' }}{{ \"{% %}\" }}",
        "{% raw %}{{ {% {# {% endraw %}{# {{ #}",
        "{%- if a -%}{% elif b %}{% else %}{%- endif -%}",
        "{% for x in y %}{% if x %}1{% endif %}{% else %}none{% endfor %}",
        "{% set x = 1 %}{% set y %}{{ x }}{% endset %}{% filter upper %}a{% endfilter %}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{% call m(1) %}{% endcall %}",
    ],
)
def test_what_the_template_engine_reads_has_no_fault(text):
    """Texts, comments and raw parts may hold anything."""
    JINJA.parse(text)
    assert fault(text) is None
