"""More findings, beyond one for each number: every check, and that nothing crashes any of them."""

from __future__ import annotations

import random
import re

import pytest

from orchestrator.journeys import check_workspace
from orchestrator.journeys.checking import check
from orchestrator.journeys.diagnostics import Mark
from orchestrator.journeys.grammar import KINDS
from orchestrator.journeys.loader import load
from orchestrator.journeys.nodes import Scalar
from orchestrator.journeys.spots import Spot
from tests.journeys.test_workspace import EVERYTHING, write

JOURNEY, PROFILE, POLICY, HELLO = (
    "journeys/welcome.yaml",
    "profile.yaml",
    "policy.yaml",
    "messages/hello.yaml",
)
PAUSE = "wait: {for: P1D}"
CONSENT = "\nconsent:"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (JOURNEY, "{for: P1D}", "[P1D]", ["J005", "here stand keys (for, until"]),
        (
            JOURNEY,
            "{for: P1D}",
            "{for: [P1D]}",
            ["J005", "here stands a duration such as P2D, not a list"],
        ),
        (JOURNEY, "{for: P1D}", "{for: {a: b}}", ["J005", "not keys with values"]),
        (JOURNEY, "{for: P1D}", "{for: true}", ["J006", "'true' is no ISO"]),
        (JOURNEY, "{for: P1D}", "", ["J004", "one of for, until"]),
        (JOURNEY, "{for: P1D}", "{until: ''}", ["J005", "an expression, not nothing"]),
        (JOURNEY, "{for: P1D}", "{until: [a]}", ["J005", "stands in quotes"]),
        (JOURNEY, "{for: P1D}", "{until: next 25:00}", ["J007"]),
        (
            JOURNEY,
            "{for: P1D}",
            "{until: next 08:00, at: '08:00'}",
            ["J003", "does not go with next"],
        ),
        (
            JOURNEY,
            "{for: P1D}",
            "{until: latest.started_at, weekdays: mon}",
            ["J003", "only with next"],
        ),
        (JOURNEY, "{for: P1D}", "{until: latest.started_at, at: '8'}", ["J007", "'8' is no time"]),
        (JOURNEY, "{for: P1D}", "{until: latest.started_at, at: 'ab:cd'}", ["J007"]),
        (JOURNEY, "{for: P1D}", "{until: 5}", ["J021", "a timestamp or a string"]),
        (JOURNEY, "journey: welcome", "journey: 5", ["J005", 'for a text write "5"']),
        (JOURNEY, "steps:\n", "priority: high\nsteps:\n", ["J005", "a whole number, not 'high'"]),
        (JOURNEY, "steps:\n", "priority: 1.5\nsteps:\n", ["J005", "a whole number, not 1.5"]),
        (JOURNEY, "steps:\n", "in_flight: pinn\nsteps:\n", ["J005", "pin or follow, not 'pinn'"]),
        (JOURNEY, "steps:\n", "exit: {on: order.placed}\nsteps:\n", ["J005", "a list, not keys"]),
        (JOURNEY, "steps:\n", "max_life: PT0S\nsteps:\n", ["J006", "no time at all"]),
        (JOURNEY, "steps:\n", "holdout: {share: few, salt: a}\nsteps:\n", ["J005", "a percentage"]),
        (
            JOURNEY,
            "steps:\n",
            "holdout: {share: true, salt: a}\nsteps:\n",
            ["J005", "the truth value true"],
        ),
        (
            JOURNEY,
            "steps:\n",
            "holdout: {share: 0.001, salt: a}\nsteps:\n",
            ["J033", "two decimals"],
        ),
        (JOURNEY, "steps:\n", "goal: {when: profile.vip, value: event.amount}\nsteps:\n", ["J022"]),
        (JOURNEY, "steps:\n", "exit: [{when: opened(pause)}]\nsteps:\n", ["J016"]),
        (JOURNEY, "steps:\n", "interrupts: [{on: order.placed, then: x}]\nsteps:\n", ["J013"]),
        (
            JOURNEY,
            "trial.started}",
            "trial.started, re_entry: sometimes}",
            ["J005", "never, always or after"],
        ),
        (JOURNEY, "trial.started}", "trial.started, re_entry: after P1Y}", ["J006"]),
        (JOURNEY, "trial.started}", "[]}", ["J005", "at least one entry"]),
        (JOURNEY, "trial.started}", "[trial.started, [a]]}", ["J005", "not a list"]),
        (JOURNEY, "trial.started}", "trial.started, key: event.started_at}", ["J021"]),
        (
            JOURNEY,
            "trial.started}",
            "trial.started, key: profile.plan}",
            ["J020", "property of the event"],
        ),
        (JOURNEY, PAUSE, "split: [{name: a, share: 100}]", ["J005", "at least 2 entries"]),
        (JOURNEY, PAUSE, "stop: false", ["J005", "stop is true"]),
        (JOURNEY, PAUSE, "set: {}", ["J005", "at least one key"]),
        (JOURNEY, PAUSE, "set: {vip: 5}", ["J021", "here stands a boolean"]),
        (JOURNEY, PAUSE, "was: first, wait: {for: P1D}", ["J017", "still here"]),
        (
            JOURNEY,
            PAUSE,
            "branch: [{if: profile.vip, then: second}, {if: profile.vip, then: second}, {then: second}]",
            ["J032", "asks the same"],
        ),
        (
            JOURNEY,
            PAUSE,
            (
                "choose: {decision: d, among: [{name: a, send: {message: hello, channel: email}},"
                " {name: a, send: {message: hello, channel: email}}],"
                " outcome: {on: order.placed, within: P1D}}"
            ),
            ["J009", "J053"],
        ),
        (
            JOURNEY,
            "{message: hello, channel: email}",
            "{message: hello, channel: email, on_block: {consent: defer}}",
            ["J005", "skip or exit, not 'defer'"],
        ),
        (PROFILE, "vip: {type: boolean}", "vip: boolean", ["J005", "the keys of a trait"]),
        (PROFILE, "vip: {type: boolean}", "vip: {}", ["J004", "a trait needs one of"]),
        (PROFILE, "vip: {type: boolean}", "vip: {type: bool}", ["J005", "did you mean boolean?"]),
        (
            PROFILE,
            "vip: {type: boolean}",
            "vip: {type: boolean, default: [a]}",
            ["J005", "a value"],
        ),
        (
            PROFILE,
            "vip: {type: boolean}",
            "vip: {last: order.placed, take: profile.plan}",
            ["J020", "expr:"],
        ),
        (
            PROFILE,
            "vip: {type: boolean}",
            "vip: {last: order.placed, take: event.paid, type: long}",
            ["J021"],
        ),
        (PROFILE, "vip: {type: boolean}", "vip: {sum: order.placed, take: event.paid}", ["J021"]),
        (PROFILE, "vip: {type: boolean}", "vip: {score: {}, half_life: P1D}", ["J005"]),
        (
            PROFILE,
            "vip: {type: boolean}",
            "vip: {score: {feature.usd: 1}, half_life: P1D}",
            ["J011"],
        ),
        (PROFILE, "vip: {type: boolean}", "vip: {expr: profile.orders, type: boolean}", ["J021"]),
        (PROFILE, "vip: {type: boolean}", "vip: {expr: 'profile.orders >'}", ["J020"]),
        (PROFILE, "vip: {type: boolean}", "v-ip: {type: boolean}", ["J005", "a trait's name"]),
        (
            PROFILE,
            "timezone: profile.timezone",
            "timezone: profile.orders",
            ["J021", "a time zone is a string"],
        ),
        (PROFILE, "also: [email]", "also: [email, email]", ["J009"]),
        (PROFILE, "traits:\n", "lifecycle: [{name: a}, {name: a}]\ntraits:\n", ["J009", "J032"]),
        (
            PROFILE,
            "traits:\n",
            "lifecycle: [{name: a}]\ntraits:\n  lifecycle: {type: string}\n",
            ["J009"],
        ),
        (POLICY, CONSENT, "\nspread: 5\nconsent:", ["J006"]),
        (POLICY, CONSENT, "\ngap: {mail: PT1H}\nconsent:", ["J014"]),
        (
            POLICY,
            CONSENT,
            "\ncaps: [{name: a, limit: 1, per: year}]\nconsent:",
            ["J005", "or rolling"],
        ),
        (
            POLICY,
            CONSENT,
            "\ncaps: [{name: a, limit: 1, per: day, category: nevs}]\nconsent:",
            ["J015"],
        ),
        (
            POLICY,
            CONSENT,
            "\ncaps: [{name: a, limit: 1, per: day, message: helo}]\nconsent:",
            ["J012"],
        ),
        (
            POLICY,
            CONSENT,
            "\ncaps: [{name: a, limit: 1, per: day, channel: sales}]\nconsent:",
            ["J041", "internal"],
        ),
        (
            POLICY,
            CONSENT,
            "\ncaps: [{name: a, limit: 2, per: rolling P7D}, {name: b, limit: 2, per: rolling P5D}]\nconsent:",
            ["J041", "'a' is always"],
        ),
        (
            POLICY,
            CONSENT,
            "\nsuppress: [{name: a, if: profile.recent * 2 > 5}]\nconsent:",
            ["J023"],
        ),
        (
            POLICY,
            "{address: profile.email}",
            "{address: profile.orders}",
            ["J021", "here stands a string"],
        ),
        (POLICY, "timezone: Europe/Berlin", "timezone: ../Berlin", ["J008"]),
        (HELLO, "{{ profile.plan }}", "{{ profile }}", ["J020", "alone is no value"]),
        (HELLO, "{{ profile.plan }}", "{{ zzz }}", ["J020", "write profile.NAME"]),
        (HELLO, "{{ profile.plan }}", "{{ plam }}", ["J020", "did you mean plan?"]),
        (HELLO, "category: news", "category: news\nrepeat: after soon", ["J006"]),
        (HELLO, "channels:", "channels: {}\nnothing:", ["J003", "J034"]),
        (HELLO, "channels:", "channels: 5\nnothing:", ["J005", "J003"]),
    ],
)
def test_finding(sound, file, old, new, words):
    """What is wrong is said, with words that help."""
    sound.change(file, old, new)
    found = sound.findings()
    numbers = [word for word in words if re.fullmatch(r"J\d{3}", word)]
    assert sorted(line.split(": ")[1][:4] for line in found) == sorted(numbers)
    for word in words:
        assert word in " ".join(found)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (JOURNEY, "{on: trial.started}", "{on: trial.started, re_entry: after P90D}"),
        (JOURNEY, PAUSE, "wait_for: {first: [{on: message.opened, of: first}], timeout: P1D}"),
        (JOURNEY, PAUSE, "branch: [{if: profile.vip, then: second}, {if: !!str 'x', then: a}]"),
        (HELLO, "{{ profile.plan }}", "{{ profile.plan.upper() }} {{ profile.plan[0] }}"),
        (HELLO, "{{ profile.plan }}", "{{ entry.plan or 'none' }}"),
        (POLICY, CONSENT, '\nquiet_hours: [{name: a, from: "00:00", to: "23:59"}]\nconsent:'),
        (
            POLICY,
            CONSENT,
            (
                '\nquiet_hours: [{name: a, channels: email, days: [sun], from: "21:00", to: "08:00"},'
                ' {name: b, channels: email, days: [mon], from: "08:00", to: "09:00"}]\nconsent:'
            ),
        ),
        (
            POLICY,
            CONSENT,
            (
                "\ncaps: [{name: a, limit: 2, per: day}, {name: b, limit: 3, per: week, category: news},"
                " {name: c, limit: 3, per: rolling P7D}, {name: d, limit: 2, per: rolling P1D, channel: email}]"
                "\nconsent:"
            ),
        ),
        (
            PROFILE,
            "traits:",
            "lifecycle: [{name: a, if: profile.heat > 5.0 || (profile.lifecycle == 'a' && profile.heat > 3.0)}, {name: b}]\ntraits:",
        ),
        (
            PROFILE,
            "traits:",
            "lifecycle: [{name: a, if: \"profile.vip ? !(profile.lifecycle in ['b', 'c']) : false\"}, {name: b, if: 'b' != profile.lifecycle && 1 > 2}, {name: c}]\ntraits:",
        ),
    ],
)
def test_no_finding(sound, file, old, new):
    """What only looks suspicious is let through (warnings aside)."""
    sound.change(file, old, new)
    errors = [line for line in sound.findings() if "J032" not in line and "J001" not in line]
    assert [line for line in errors if "J05" not in line] == []


def test_a_flapping_lifecycle_of_three(sound):
    """A circle through several names, with conditions of all forms."""
    sound.change(
        PROFILE,
        "traits:",
        "lifecycle:\n"
        "  - {name: a, if: \"profile.vip && profile.lifecycle in ['c'] || profile.lifecycle == ''\"}\n"
        "  - {name: b, if: \"profile.lifecycle == 'a' && !has(profile.email)\"}\n"
        "  - {name: c}\ntraits:",
    )
    (found,) = sound.findings()
    assert "profile.yaml:4:19: J051" in found
    assert "a -> b -> c -> a" in found


def test_a_lifecycle_with_too_many_atoms_is_not_judged(sound):
    """Beyond a bound nobody is warned."""
    asks = " && ".join(f"profile.orders != {number}" for number in range(12))
    sound.change(
        PROFILE,
        "traits:",
        f"lifecycle: [{{name: a, if: profile.lifecycle != 'a' && {asks}}}, {{name: b}}]\ntraits:",
    )
    assert sound.findings() == []


@pytest.mark.parametrize(
    ("file", "blamed"),
    [("events.yaml", 1), ("profile.yaml", 1), ("policy.yaml", 1), ("messages/hello.yaml", 1)],
)
def test_a_broken_file_is_blamed_alone(sound, file, blamed):
    """Nobody who names what stands in it is blamed too."""
    sound.write(file, "a: [\n")
    assert len(sound.findings()) == blamed


def test_without_events_nothing_is_declared(sound):
    """Event names and properties are then not checked; types are unknown."""
    (sound.folder / "events.yaml").unlink()
    sound.change(
        JOURNEY, "{on: trial.started}", "{on: any.thing, if: event.x > 3 && event.y.z == 'a'}"
    )
    sound.change(
        PROFILE,
        "vip: {type: boolean}",
        "vip: {type: boolean}\n  last_x: {last: any.thing, take: event.x}",
    )
    report = check_workspace(sound.folder)
    assert report.diagnostics == ()
    assert report.workspace.catalog.traits["last_x"].type == "any"
    assert report.workspace.catalog.events is None


def test_without_a_profile_there_are_no_traits(sound):
    """Then reading one is an error."""
    (sound.folder / PROFILE).unlink()
    assert {line.split(": ")[1][:4] for line in sound.findings()} == {"J010"}


def test_meaningless_blocks(sound):
    """Each class has blocks that cannot occur."""
    every = "quiet_hours gap cap arbitration protected suppression holdout consent address already_sent obsolete"
    blocks = ", ".join(f"{block}: skip" for block in every.split())
    sound.change(
        JOURNEY,
        "{message: hello, channel: email}",
        f"{{message: hello, channel: email, on_block: {{{blocks}}}}}",
    )
    for class_, meaningless in {
        "promotional": set(),
        "transactional": {"gap", "cap", "arbitration", "protected", "holdout"},
        "mandatory": set(every.split()) - {"address", "already_sent", "obsolete"},
    }.items():
        sound.write(
            HELLO, sound.files[HELLO].replace("category: news", f"category: news\nclass: {class_}")
        )
        found = {line.split("meaningless-on-block: ")[1].split(" ")[0] for line in sound.findings()}
        assert found == meaningless, class_


def test_the_grammar_of_tests_checks_too():
    """The shape behind ``test.schema.json`` reads a test as it is."""
    text = "- {name: a, customer: {id: x, profile: {tags: [a]}}, script: [{at: 2026-03-02T10:00:00Z, expect: []}]}"
    node, _ = load(text, "f")
    found = []
    assert check(node, KINDS["test"], found) is not None
    assert found == []
    node, _ = load("- {name: a, script: [{at: 2026-03-02}]}", "f")
    check(node, KINDS["test"], found)
    assert [each.name for each in found] == ["bad-time"]


def test_a_spot_without_keys():
    """A scalar has no words."""
    mark = Mark("f", 1, 1)
    assert Spot("a", Scalar(mark, "a", "a", "")).words() == []
    assert Spot({}, Scalar(mark, "a", "a", "")).key_mark("x") == mark


TOKEN = re.compile(r"[A-Za-z_.]+|[0-9]+|[^\sA-Za-z0-9]|\s+")
OTHER = ["null", "[]", "{}", "true", "5", "''", "-1", "~", "1.5", "x.y", "P1D"]


@pytest.mark.parametrize("seed", range(60))
def test_no_typing_error_crashes_lint(tmp_path, seed):
    """A few tokens lost, doubled or replaced anywhere: findings with places, never an exception."""
    pick = random.Random(seed)
    name = pick.choice(sorted(EVERYTHING))
    tokens = TOKEN.findall(EVERYTHING[name])
    for _ in range(pick.randrange(1, 4)):
        at = pick.randrange(len(tokens))
        tokens[at : at + pick.randrange(2)] = [pick.choice([*tokens, *OTHER])][: pick.randrange(2)]
    write(tmp_path, {**EVERYTHING, name: "".join(tokens)})
    for each in check_workspace(tmp_path).diagnostics:
        assert each.mark.line >= 1
        assert each.mark.column >= 1


BY_TRAIT = "journey: by-trait\nentry: {when: profile.vip}\nsteps: [{id: a, send: {message: hello, channel: CHANNEL}}]\n"


@pytest.mark.parametrize(
    ("template", "channel", "names"),
    [
        ("{{ entry.plan }} {{ latest.plan }}", "email", ["entry.plan", "latest.plan"]),
        ("{{ entry.plan }}", "inapp", []),
        ("{{ entry.plan | default('none') }}", "email", []),
        ("{% if entry.plan is defined %}{{ entry.plan }}{% endif %}", "email", []),
        ("{{ profile.plan }}", "email", []),
    ],
)
def test_a_template_that_needs_what_no_event_brings(sound, template, channel, names):
    """Two journeys send it, one without an event: its sends could not be rendered."""
    sound.change(HELLO, "{{ profile.plan }}", template)
    sound.write("journeys/by-trait.yaml", BY_TRAIT.replace("CHANNEL", channel))
    found = [one for one in sound.findings() if "J054" in one]
    assert [one.partition(" needs ")[2].partition(",")[0] for one in found] == names
    assert all(one.startswith("journeys/by-trait.yaml:3:33: J054") for one in found)
