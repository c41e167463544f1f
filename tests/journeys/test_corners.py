"""Corners of the compiler that no ordinary workspace comes to."""

from __future__ import annotations

import json
import runpy
import sys

import pytest

from orchestrator.journeys import check_workspace, compile_catalog, definition_of, load_workspace
from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.spots import strip
from orchestrator.records import Definition


def words(sound) -> str:
    """Return all findings as one text."""
    return "\n".join(sound.findings())


def test_a_profile_without_identities(sound):
    """Customers are told apart by customer_id where nothing is said."""
    sound.change("profile.yaml", "identities: {primary: account_id, also: [email]}\n", "")
    assert load_workspace(sound.folder).catalog.identities.primary == "customer_id"


def test_derived_traits_stand_behind_what_they_read(sound):
    """Whatever form reads it: the order follows from every kind of operand."""
    forms = {
        "a1": "-profile.z1",
        "a2": "profile.z1 > 0 ? profile.z2 : 0",
        "a3": "profile.z3.upper()",
        "a4": "profile.spent in [profile.z4, 1.0]",
        "a5": "size(profile.z3.lower()) + min(profile.z1, 2)",
        "z1": "profile.orders + 1",
        "z2": "profile.orders + 2",
        "z3": "profile.plan + profile.plan",
        "z4": "profile.spent * 2.0",
    }
    lines = "".join(f"  {name}: {{expr: '{text}'}}\n" for name, text in forms.items())
    sound.change("profile.yaml", "traits:\n", f"traits:\n{lines}")
    assert sound.findings() == []
    traits = load_workspace(sound.folder).catalog.traits
    assert {traits[name].type for name in ("a1", "a2", "a5", "z1")} == {"long"}
    assert traits["a3"].type == "string"
    assert traits["a4"].type == "boolean"


def test_selecting_from_what_is_no_name_reads_no_trait(sound):
    """A field of a result is refused at its place, and the order of traits survives it."""
    sound.change("profile.yaml", "traits:\n", "traits:\n  a: {expr: 'upper(profile.plan).b'}\n")
    assert "profile.yaml:4:" in words(sound)


@pytest.mark.parametrize(
    ("rules", "circle"),
    [
        ("[{name: a, if: profile.vip && profile.lifecycle != 'b'}]", False),
        ("[{name: a, if: 'profile.lifecycle == \"a\" ? false : true'}, {name: b}]", True),
        (
            "[{name: a, if: 'profile.vip ? profile.lifecycle == \"a\" : profile.vip'}, {name: b}]",
            False,
        ),
    ],
    ids=["no rule holds", "either", "either that rests"],
)
def test_lifecycles_that_read_themselves(sound, rules, circle):
    """A circle is found through conditionals, and none where nothing holds."""
    sound.change(
        "profile.yaml",
        "traits:\n",
        f"lifecycle: {rules.replace(chr(39) + 'b' + chr(39), chr(34) + 'b' + chr(34))}\ntraits:\n",
    )
    assert ("flapping-lifecycle" in words(sound)) is circle


def test_steps_that_are_none(sound):
    """A step that is no mapping, and one without an id, are named; the others are still known."""
    sound.change("journeys/welcome.yaml", "  - {id: pause, wait: {for: P1D}}\n", "  - pause\n")
    assert "journeys/welcome.yaml:5:5: J005" in words(sound)
    sound.change("journeys/welcome.yaml", "  - pause\n", "  - {wait: {for: P1D}, then: second}\n")
    assert words(sound) == "journeys/welcome.yaml:5:5: J004 missing-key: 'id' is missing"
    sound.change("journeys/welcome.yaml", "  - {wait:", "  - {id: [a], wait:")
    assert "J005" in words(sound)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("steps:\n", "in_flight: [pin]\nsteps:\n", "here stands pin or follow, not a list"),
        (
            "{on: trial.started}",
            "{on: trial.started, re_entry: [never]}",
            "here stands never, always or after DURATION, not a list",
        ),
        ("entry: {on", "exit:\nentry: {on", "here stands a list, not nothing"),
        ("entry: {on", "exit: true\nentry: {on", "not the truth value true"),
    ],
)
def test_what_stands_there_instead(sound, old, new, finding):
    """Lists and nothing, where a word or a list is meant."""
    sound.change("journeys/welcome.yaml", old, new)
    assert finding in words(sound)


def test_a_method_behind_an_undeclared_name(sound):
    """What a template calls on a value is Jinja2's business; the value is what travels."""
    (sound.folder / "events.yaml").unlink()
    sound.change("messages/hello.yaml", "{{ profile.plan }}", "{{ entry.plan.upper() }}")
    message = load_workspace(sound.folder).catalog.messages["hello"]
    assert list(message.content["email"]) == ["entry.plan"]


def test_a_file_that_is_not_utf8(sound):
    """It is named, and nothing that stands in it is missed."""
    (sound.folder / "messages" / "alert.yaml").write_bytes(b"message: \xff")
    assert words(sound) == (
        "messages/alert.yaml:1:10: J001 yaml-syntax: the file is not UTF-8; save it as UTF-8"
    )


def test_an_earlier_version_that_the_grammar_no_longer_knows(sound):
    """Its entries end (not_live) instead of being run by guesswork."""
    workspace = load_workspace(sound.folder)
    definitions = {f"{one.kind}/{one.name}": one for one in workspace.definitions}
    source = json.dumps({"journey": "welcome", "flow": []})
    foreign = Definition(kind="journey", name="welcome", hash="old", source=source)
    catalog = compile_catalog(definitions, {}, {"old": foreign}.get)
    assert catalog.journey("welcome", "old") is None


def test_schemas_are_written_by_the_module(tmp_path, monkeypatch):
    """``python -m orchestrator.journeys.write_schemas FOLDER``: one file for each kind."""
    module = "orchestrator.journeys.write_schemas"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "argv", [module, str(tmp_path)])
    runpy.run_module(module, run_name="__main__")
    assert {path.name for path in tmp_path.iterdir()} == {f"{kind}.schema.json" for kind in KINDS}


def test_what_is_checked_elsewhere_is_kept_as_it_is():
    """A test's policy is any mapping: it is no tree of places."""
    from orchestrator.journeys.checking import check
    from orchestrator.journeys.loader import load

    node, _ = load(
        "- {name: a, policy: {gap: {any: PT1H}}, script: [{at: 2026-03-02T10:00:00Z}]}", "t"
    )
    found = []
    spot = check(node, KINDS["test"], found)
    assert strip(spot)[0]["policy"] == {"gap": {"any": "PT1H"}}


def test_no_folder_no_crash(tmp_path):
    """An empty folder is a workspace without a policy, and says so."""
    report = check_workspace(tmp_path)
    assert [each.name for each in report.diagnostics] == ["missing-key"]
    assert definition_of("policy", "policy", {"timezone": "UTC"}).hash


def test_tests_of_a_broken_workspace_are_read_for_their_form_alone(sound):
    """What they name may be what is broken: one cause, one finding."""
    script = "[{at: 2026-03-02T10:00:00Z, expect: [{sent: nothing}]}]"
    sound.write("tests/a.yaml", f"- {{name: a, script: {script}}}\n")
    assert "unknown-message" in words(sound)
    sound.change("policy.yaml", "Europe/Berlin", "Berlin")
    assert [one.split(":")[0] for one in sound.findings()] == ["policy.yaml"]
