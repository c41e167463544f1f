"""Tests are read strictly: every slip has its place, its cause and its remedy."""

from __future__ import annotations

from textwrap import dedent

import pytest

from orchestrator.errors import WorkspaceError
from orchestrator.expressions.durations import Duration
from orchestrator.journeys.loader import load
from orchestrator.journeys.scenario_checks import check_scenarios, load_scenarios
from orchestrator.journeys.scenario_reader import read_scenarios
from orchestrator.journeys.scenarios import Given, Happens, Lay, Reports
from orchestrator.stages.catalog import EMPTY

GOOD = """\
- name: all keys
  journeys: [one]
  policy: {gap: {any: PT1H}}
  sink: silent
  choose: {offer: a}
  customer:
    id: 1124
    identities: {email: a@example.com}
    profile: {age: 3, tags: [x, y], name: null}
    consent: {email: [news]}
    holdout: true
  script:
    - {at: 2026-03-02T10:00:00+01:00, event: it.happened, properties: {n: 1}, id: e1, occurred_at: 2026-03-01T00:00:00Z, backfill: true, identities: {email: b@example.com}}
    - {after: P1DT1H, receipt: {of: hello, status: opened, journey: one, key: k, properties: {url: /x}}, expect: []}
    - {after: P1D, apply: ../over, includes: [{sent: hi, channel: email, at: 2026-03-02T10:00:00+01:00, reason: gap}]}
"""


def read(text):
    node, found = load(dedent(text), "t.yaml")
    tests, more = read_scenarios(node, "id")
    return tests, [str(diagnostic) for diagnostic in [*found, *more]]


def test_everything_that_can_be_written_is_read():
    (test,), found = read(GOOD)
    assert not found
    assert (test.name, test.journeys, test.sink, test.choose) == (
        "all keys",
        ("one",),
        "silent",
        {"offer": "a"},
    )
    assert test.policy == {"gap": {"any": "PT1H"}}
    assert test.customers == (
        Given(
            id="1124",
            identities={"email": "a@example.com"},
            profile={"age": 3, "tags": ["x", "y"], "name": None},
            consent={"email": ("news",)},
            holdout=True,
        ),
    )
    first, second, third = test.script
    assert first.input == Happens(
        mark=first.input.mark,
        type="it.happened",
        identities={"email": "b@example.com"},
        properties={"n": 1},
        id="e1",
        occurred_at=1772323200000,
        backfill=True,
    )
    assert first.expect is None
    assert second.after == Duration(1, 3_600_000)
    assert second.input == Reports(
        mark=second.input.mark,
        of="hello",
        status="opened",
        journey="one",
        key="k",
        properties={"url": "/x"},
    )
    assert second.expect == ()
    assert third.input == Lay(folder="../over")
    (expected,) = third.includes or ()
    assert (expected.outcome, expected.subject) == ("sent", "hi")
    assert expected.fields == {"channel": "email", "at": 1772442000000, "reason": "gap"}


@pytest.mark.parametrize(
    ("line", "identities"),
    [
        ("event: it.happened", {"id": "c"}),
        ("event: it.happened, identities: {email: x}", {"email": "x"}),
        ("customer: c, event: it.happened, identities: {email: x}", {"id": "c", "email": "x"}),
    ],
)
def test_whose_event_it_is(line, identities):
    """The only customer's; exactly the written identities; or both, where both are written."""
    (test,), found = read(
        f"""\
        - name: n
          customer: {{id: c}}
          script: [{{at: 2026-03-02T10:00:00Z, {line}, expect: []}}]
        """
    )
    assert not found
    assert test.script[0].input.identities == identities


ONE = "- {{name: n, customer: {{id: c}}, script: [{{at: 2026-03-02T10:00:00Z, expect: []{}}}]}}"
SLIPS = {
    "nothing expected": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z}]}",
        "t.yaml:1:3: J004 missing-key: a test that expects nothing proves nothing; write expect or includes on a line ([] = no message decision)",
    ),
    "no name": (
        "- {script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:3: J004 missing-key: 'name' is missing",
    ),
    "no script": ("- {name: n}", "t.yaml:1:3: J004 missing-key: 'script' is missing"),
    "no list": ("name: n", "t.yaml:1:1: J005 wrong-type: a list of tests is needed here"),
    "a test that is a word": ("- n", "t.yaml:1:3: J005 wrong-type: a test is a mapping"),
    "first line relative": (
        "- {name: n, script: [{after: P1D, expect: []}]}",
        "t.yaml:1:22: J004 missing-key: the first line has no 'at'; say when it begins",
    ),
    "no time at all": (
        "- {name: n, script: [{expect: []}]}",
        "t.yaml:1:22: J004 missing-key: one of at, after is missing",
    ),
    "both times": (
        ONE.format(", after: P1D"),
        "t.yaml:1:80: J003 unknown-key: 'after' and 'at' exclude each other; split the line or keep one",
    ),
    "a wrong key": (
        ONE.format(", expects: []"),
        "t.yaml:1:80: J003 unknown-key: 'expects' is no key of a line; did you mean 'expect'?",
    ),
    "two inputs": (
        ONE.format(", event: a.b, apply: x"),
        "t.yaml:1:92: J003 unknown-key: 'apply' and 'event' exclude each other; split the line or keep one",
    ),
    "an event's key without event": (
        ONE.format(", properties: {}"),
        "t.yaml:1:80: J003 unknown-key: 'properties' goes with 'event'",
    ),
    "no instant": (
        "- {name: n, script: [{at: 2026-03-02 10:00, expect: []}]}",
        "t.yaml:1:27: J007 bad-time: '2026-03-02 10:00' is no instant with offset; write 2026-03-02T10:00:00+01:00",
    ),
    "no duration": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z}, {after: P1M, expect: []}]}",
        "t.yaml:1:58: J006 bad-duration: 'P1M': years and months have no fixed length; write days (P30D), or PT1M for a minute",
    ),
    "an unknown reason": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z, expect: [{sent: m, reason: quite_hours}]}]}",
        "t.yaml:1:76: J005 wrong-type: 'quite_hours' is not known here; did you mean 'quiet_hours'?",
    ),
    "no outcome": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z, expect: [{channel: m}]}]}",
        "t.yaml:1:58: J004 missing-key: one of cancelled, deferred, entered, exited, expired, held_out, lost, nothing, sent, suppressed is missing",
    ),
    "an unknown status": (
        ONE.format(", receipt: {of: s, status: read}"),
        "t.yaml:1:105: J005 wrong-type: 'read' is not known here; one of accepted, bounced, clicked, complained, delivered, dropped, failed, opened, unsubscribed",
    ),
    "nobody": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z, event: a.b, expect: []}]}",
        "t.yaml:1:49: J004 missing-key: whose is it?; write customer: ID, or identities",
    ),
    "a receipt of nobody": (
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z, receipt: {of: s, status: opened}, expect: []}]}",
        "t.yaml:1:49: J004 missing-key: whose is it?; write customer: ID, or identities",
    ),
    "a stranger": (
        ONE.format(", customer: d"),
        "t.yaml:1:90: J005 wrong-type: 'd' is no customer of this test",
    ),
    "one and many customers": (
        "- {name: n, customer: {id: a}, customers: [{id: b}], script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:32: J003 unknown-key: customer and customers exclude each other; keep one",
    ),
    "a policy that is a word": (
        "- {name: n, policy: strict, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:21: J005 wrong-type: policy is a mapping of its top-level keys",
    ),
    "a nested property": (
        ONE.format(", event: a.b, properties: {p: {q: 1}}"),
        "t.yaml:1:108: J005 wrong-type: a property is a single value; flatten it: a.b",
    ),
    "a nested trait": (
        "- {name: n, customer: {id: c, profile: {p: {q: 1}}}, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:44: J005 wrong-type: a trait is a value or a list of values",
    ),
    "no flag": (
        "- {name: n, customer: {id: c, holdout: yes}, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:40: J005 wrong-type: true or false is needed here",
    ),
    "no text": (
        "- {name: [n], script: [{at: 2026-03-02T10:00:00Z, expect: []}]}",
        "t.yaml:1:10: J005 wrong-type: a text is needed here",
    ),
}


@pytest.mark.parametrize(("text", "told"), SLIPS.values(), ids=SLIPS)
def test_a_slip_is_told_with_its_place(text, told):
    _, found = read(text)
    assert found == [told]


def test_several_slips_are_told_at_once():
    _, found = read("- {nam: n, scrip: []}\n- {name: m, script: [{at: x, expect: []}]}")
    assert [one.split(": ")[0] for one in found] == [
        "t.yaml:1:4",
        "t.yaml:1:12",
        "t.yaml:1:3",
        "t.yaml:1:3",
        "t.yaml:2:27",
    ]


def test_names_that_the_workspace_does_not_have():
    tests, _ = read(
        """\
        - name: same
          journeys: [one]
          customer: {id: c, profile: {age: 3}}
          script:
            - {at: 2026-03-02T10:00:00Z, receipt: {of: step, status: opened}, expect: [{sent: hi, journey: two}, {entered: three}]}
        - {name: same, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}
        """
    )
    names = [diagnostic.name for diagnostic in check_scenarios(tests, EMPTY)]
    assert names == [
        "unknown-trait",
        "unknown-journey",
        "unknown-step",
        "unknown-message",
        "unknown-journey",
        "unknown-journey",
        "duplicate-name",
    ]


def test_a_test_that_lays_folders_over_the_workspace_may_name_what_they_bring():
    tests, _ = read(GOOD)
    assert [one.name for one in check_scenarios(tests, EMPTY)] == [
        "unknown-trait",
        "unknown-trait",
        "unknown-trait",
    ]


def test_a_folder_of_tests(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.yaml").write_text(
        "- {name: n, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}\n"
    )
    assert [test.name for test in load_scenarios(tmp_path, EMPTY)] == ["n"]
    (tmp_path / "tests" / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "tests" / "c.yaml").write_text("- {name: n")
    with pytest.raises(WorkspaceError) as refused:
        load_scenarios(tmp_path, EMPTY)
    assert len(refused.value.diagnostics) == 2


def test_loading_says_a_misspelt_outcome_once(tmp_path):
    """The decision that is no decision is not looked for among messages as well."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "t.yaml").write_text(
        "- name: t\n  customer: {id: c}\n"
        "  script: [{at: 2026-03-02T10:00:00Z, expect: [{send: hello}]}]\n"
    )
    with pytest.raises(WorkspaceError) as caught:
        load_scenarios(tmp_path, EMPTY)
    (finding,) = caught.value.diagnostics
    assert "'send' is no key of a decision; did you mean 'sent'?" in finding
